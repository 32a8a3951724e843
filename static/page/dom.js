/** Helpers for the DOM. Text is always inserted as text, never as HTML. */

export const byId = (id) => document.getElementById(id);

/**
 * Creates an element.
 * @param {string} tag
 * @param {object} [props] properties; `class`, `for`, `role`, `data-*` and `aria-*` become attributes
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

/** A message of the server as nodes. Text between backticks becomes `code`; no other markup is read. */
export function withCode(text) {
  return text.split(/`([^`\n]+)`/).map((part, index) => (index % 2 ? el('code', { textContent: part }) : part));
}

const scheduled = new Set();

/** Runs `work` once in the next animation frame, even if it is scheduled several times. */
export function nextFrame(work) {
  if (!scheduled.size) requestAnimationFrame(flush);
  scheduled.add(work);
}

function flush() {
  const due = [...scheduled];
  scheduled.clear();
  for (const work of due) work();
}

/** A button that copies the result of `text()` and confirms it. */
export function copyButton(text, label = 'Copy') {
  const button = el('button', { type: 'button', class: 'quiet copy', textContent: label });
  button.addEventListener('click', async () => {
    button.textContent = (await copy(text())) ? 'Copied' : 'Copy failed: select the text';
    setTimeout(() => (button.textContent = label), 1600);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // The Clipboard API needs a secure context and permission; `execCommand` needs neither.
    const area = el('textarea', { value: text, class: 'visually-hidden', readOnly: true });
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}
