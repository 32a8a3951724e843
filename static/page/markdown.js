/**
 * A parser for streamed Markdown: it turns text into a flat list of blocks. No DOM.
 *
 * Only the end of the list changes, and `push` returns where. An incomplete line is
 * parsed as if it were complete, and parsed again when more of it arrives.
 */

/**
 * @typedef {object} Block
 * @property {'paragraph'|'heading'|'item'|'quote'|'code'|'rule'} kind
 * @property {string} text
 * @property {boolean} [joined] continues the element of the block before it
 */

/** The longest block in characters, because each append redraws the last block. Code has no limit: it only appends. */
const MAX_BLOCK = 4000;

export class Blocks {
  /** @type {Block[]} */
  list = [];
  #tail = '';
  #fence = null;
  #gap = true;
  #midLine = false;
  #undo = null;

  /**
   * @param {string} text
   * @returns {number} the index of the first block that may have changed
   */
  push(text) {
    this.#removePartialLine();
    const from = Math.max(0, this.list.length - 1);
    const lines = (this.#tail + text).split('\n');
    this.#tail = lines.pop();
    for (const line of lines) {
      this.#line(line.replace(/\r$/, ''), false);
      this.#midLine = false;
    }
    if (this.#tail.length > MAX_BLOCK) {
      const cut = this.#tail.lastIndexOf(' ') + 1 || this.#tail.length;
      this.#line(this.#tail.slice(0, cut), false);
      this.#tail = this.#tail.slice(cut);
      this.#midLine = true;
    }
    const last = this.list.at(-1);
    this.#undo = { length: this.list.length, last: last && { ...last }, fence: this.#fence, gap: this.#gap };
    if (this.#tail) this.#line(this.#tail, true);
    return from;
  }

  #removePartialLine() {
    if (!this.#undo) return;
    const { length, last, fence, gap } = this.#undo;
    this.list.length = length;
    if (last) this.list[length - 1] = last;
    this.#fence = fence;
    this.#gap = gap;
  }

  #line(line, partial) {
    if (this.#midLine && this.list.length) return this.#append('', line);
    if (this.#fence) return this.#codeLine(line, partial);
    // The start of a line is held back while it can still become a fence, heading, rule or list item.
    if (partial && /^\s*(`{1,2}|~{1,2}|#{1,6}|[-*_+]{1,2}|\d{1,9}[.)]?|>)?\s*$/.test(line)) return;
    if (!line.trim()) return void (this.#gap = true);
    this.#textLine(line);
    this.#gap = false;
  }

  #codeLine(line, partial) {
    const mark = line.trim();
    if (mark && mark === this.#fence.char.repeat(mark.length)) {
      if (mark.length >= this.#fence.length) return void (this.#fence = null);
      if (partial) return;
    }
    if (partial && !mark) return;
    const block = this.list.at(-1);
    const indent = Math.min(this.#fence.indent, line.search(/\S|$/));
    block.text += (block.empty ? '' : '\n') + line.slice(indent);
    block.empty = false;
  }

  #textLine(line) {
    const fence = /^(\s{0,12})(`{3,}|~{3,})\s*([^`]*)$/.exec(line);
    if (fence) {
      this.#fence = { char: fence[2][0], length: fence[2].length, indent: fence[1].length };
      return this.list.push({ kind: 'code', lang: fence[3].trim().split(/\s/)[0], text: '', empty: true });
    }
    const heading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (heading) return this.list.push({ kind: 'heading', level: heading[1].length, text: heading[2] });
    if (/^ {0,3}([-*_])(\s*\1){2,}\s*$/.test(line)) return this.list.push({ kind: 'rule', text: '' });
    const item = /^(\s*)([-*+]|(\d{1,9})[.)])\s+(.*)$/.exec(line);
    if (item) return this.list.push({ kind: 'item', depth: this.#depth(item[1]), number: item[3] ? Number(item[3]) : null, text: item[4] });
    const quote = /^ {0,3}>\s?(.*)$/.exec(line);
    const last = this.list.at(-1);
    if (quote) return last?.kind === 'quote' && !this.#gap ? this.#append('\n', quote[1]) : this.list.push({ kind: 'quote', text: quote[1] });
    if (!this.#gap && ['paragraph', 'item', 'quote'].includes(last?.kind)) return this.#append('\n', line.trim());
    if (this.#gap && last?.kind === 'item' && /^\s{2,}/.test(line)) return this.list.push({ ...last, joined: true, paragraph: true, text: line.trim() });
    this.list.push({ kind: 'paragraph', text: line });
  }

  #depth(indent) {
    const last = this.list.at(-1);
    const most = last?.kind === 'item' ? last.depth + 1 : 0;
    return Math.min(Math.floor(indent.replace(/\t/g, '    ').length / 2), most);
  }

  #append(separator, text) {
    const last = this.list.at(-1);
    if (last.kind === 'code' || last.text.length < MAX_BLOCK) last.text += separator + text;
    else this.list.push({ ...last, joined: true, paragraph: false, text: separator + text });
  }
}

/** @typedef {{kind: 'text'|'code', text: string} | {kind: 'em'|'strong', children: Span[]}} Span */

/**
 * Parses emphasis, strong emphasis and code within a line. Links stay text, so that the
 * user sees where a model's link leads.
 * @param {string} text
 * @returns {Span[]}
 */
export function inline(text, depth = 0) {
  const codes = codeSpans(text);
  // Marks inside code and escaped marks do not end an emphasis, so they are masked.
  let mask = text.replace(/\\[\\`*_]/g, 'xx');
  for (const [from, { to }] of codes) mask = mask.slice(0, from) + 'x'.repeat(to - from) + mask.slice(to);
  const reading = { text, mask, codes, depth, unclosed: new Set() };
  const spans = [];
  let plain = '';
  for (let at = 0; at < text.length; ) {
    const found = special(reading, at);
    if (!found.span) plain += found.text;
    else {
      if (plain) spans.push({ kind: 'text', text: plain });
      plain = '';
      spans.push(found.span);
    }
    at = found.to;
  }
  if (plain) spans.push({ kind: 'text', text: plain });
  return spans;
}

function special(reading, at) {
  const { text, codes, depth } = reading;
  const char = text[at];
  if (codes.has(at)) return codes.get(at);
  if (char === '\\' && /[\\`*_{}[\]()#+\-.!>~|]/.test(text[at + 1] ?? '')) return { text: text[at + 1], to: at + 2 };
  if ((char === '*' || char === '_') && depth < 4) return emphasis(reading, at, char);
  return { text: char, to: at + 1 };
}

/** All code spans by their start: from a run of backticks to the next run of the same length. */
function codeSpans(text) {
  const runs = [...text.matchAll(/(\\*)(`+)/g)].map(({ index, 1: slashes, 2: ticks }) => {
    const escaped = slashes.length % 2;
    return { from: index + slashes.length + escaped, length: ticks.length - escaped };
  });
  const spans = new Map();
  const unclosed = new Set();
  for (let open = 0; open < runs.length; open += 1) {
    const { from, length } = runs[open];
    if (!length || unclosed.has(length)) continue;
    const close = runs.findIndex((run, index) => index > open && run.length === length);
    if (close < 0) unclosed.add(length);
    else {
      const inner = text.slice(from + length, runs[close].from).replace(/^ (.*[^ ].*) $/, '$1');
      spans.set(from, { span: { kind: 'code', text: inner }, to: runs[close].from + length });
      open = close;
    }
  }
  return spans;
}

function emphasis(reading, at, char) {
  const { text, mask, depth, unclosed } = reading;
  let run = 1;
  while (mask[at + run] === char) run += 1;
  const stays = { text: text.slice(at, at + run), to: at + run };
  const word = /[\p{L}\p{N}]/u;
  if (run > 3 || unclosed.has(char + run) || !/\S/.test(text[at + run] ?? '') || (char === '_' && word.test(text[at - 1] ?? ''))) return stays;
  const runs = char === '*' ? /\*+/g : /_+/g;
  runs.lastIndex = at + run;
  for (let close = runs.exec(mask); close; close = runs.exec(mask)) {
    const { length } = close[0];
    const end = close.index + length - run;
    // A run of three marks can close two: the inner emphasis takes the first marks, the outer the last.
    if ((length !== run && length !== 3) || end < close.index || /\s/.test(mask[close.index - 1])) continue;
    if (char === '_' && word.test(text[end + run] ?? '')) continue;
    const children = inline(text.slice(at + run, end), depth + 1);
    const span = run === 2 ? { kind: 'strong', children } : { kind: 'em', children };
    return { span: run === 3 ? { kind: 'strong', children: [span] } : span, to: end + run };
  }
  unclosed.add(char + run);
  return stays;
}
