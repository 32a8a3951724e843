/** The little of the DOM that every module here needs. Text goes in as text, never as HTML. */

export const byId = (id) => document.getElementById(id);

/**
 * @param {string} tag
 * @param {object} [props] properties; `class`, `data-*`, `aria-*`, `for` and `role` as attributes
 * @param {...(Node|string|null)} children
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (/^(class|for|role|data-|aria-)/.test(name)) node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** A message of the server as nodes: what stands between backticks is code. Nothing else is read. */
export function coded(text) {
  return text.split(/`([^`\n]+)`/).map((part, index) => (index % 2 ? el('code', { textContent: part }) : part));
}

const waiting = new Set();

/** Runs `work` in the next animation frame, once however often it is asked for. */
export function nextFrame(work) {
  if (!waiting.size) requestAnimationFrame(flush);
  waiting.add(work);
}

function flush() {
  const due = [...waiting];
  waiting.clear();
  for (const work of due) work();
}

/** A button that copies what `text()` gives, and says so. */
export function copyButton(text, label = 'Copy') {
  const button = el('button', { type: 'button', class: 'quiet copy', textContent: label });
  button.addEventListener('click', async () => {
    button.textContent = (await copy(text())) ? 'Copied' : 'Select and copy by hand';
    setTimeout(() => (button.textContent = label), 1600);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Not a secure context, or not allowed: the older way still works there.
    const area = el('textarea', { value: text, class: 'unseen', readOnly: true });
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}
