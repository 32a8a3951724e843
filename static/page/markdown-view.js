/** Draws streamed Markdown: new text redraws only the blocks that changed. */

import { copyButton, el } from './dom.js';
import { Blocks, inline } from './markdown.js';

export class MarkdownView {
  #blocks = new Blocks();
  #drawn = [];

  constructor(host) {
    this.host = host;
  }

  /** Appends text. Only the last block and those after it are drawn. */
  push(text) {
    const from = this.#blocks.push(text);
    const { list } = this.#blocks;
    this.#removeFrom(list.length);
    for (let index = from; index < list.length; index += 1) this.#draw(list[index], index);
  }

  #draw(block, index) {
    const drawn = this.#drawn[index];
    const same = drawn && drawn.shape === shapeOf(block);
    if (!same) {
      this.#removeFrom(index);
      this.#drawn[index] = this.#create(block, this.#drawn[index - 1]);
    }
    this.#fill(this.#drawn[index], block);
  }

  #fill(drawn, block) {
    if (block.kind === 'code') {
      const text = block.text.slice(drawn.length);
      drawn.code.push(text);
      drawn.length = block.text.length;
    } else if (block.text !== drawn.text) {
      drawn.text = block.text;
      drawn.run?.replaceChildren(...spans(block.text));
    }
  }

  #create(block, before) {
    const drawn = { shape: shapeOf(block), lists: [], length: 0 };
    if (block.joined) return Object.assign(drawn, this.#join(block, before));
    if (block.kind === 'item') return Object.assign(drawn, this.#item(block, before));
    drawn.run = block.kind === 'rule' || block.kind === 'code' ? null : el('span');
    if (block.kind === 'code') Object.assign(drawn, codeFigure(block.lang));
    else if (block.kind === 'rule') drawn.node = el('hr');
    // The headings of the page are h1 and h2, so those of the model start at h3.
    else if (block.kind === 'heading') drawn.node = el(`h${Math.min(block.level + 2, 6)}`, {}, drawn.run);
    else drawn.node = el(block.kind === 'quote' ? 'blockquote' : 'p', {}, drawn.run);
    this.host.append(drawn.node);
    return drawn;
  }

  #join(block, before) {
    const run = el('span', { class: block.paragraph ? 'paragraph' : null });
    const parent = before.parent ?? before.run.parentNode;
    parent.append(run);
    return { run, node: run, parent, lists: before.lists };
  }

  #item(block, before) {
    const open = before?.lists ?? [];
    const run = el('span');
    const node = el('li', {}, run);
    const tag = block.number === null ? 'UL' : 'OL';
    let lists = open.slice(0, block.depth + 1);
    if (lists[block.depth]?.tagName !== tag) {
      const list = el(tag);
      if (block.number > 1) list.start = block.number;
      lists = [...open.slice(0, block.depth), list];
      const parent = block.depth ? open[block.depth - 1]?.lastElementChild : null;
      (parent ?? this.host).append(list);
    }
    lists.at(-1).append(node);
    return { run, node, lists };
  }

  #removeFrom(index) {
    for (const { node } of this.#drawn.splice(index).reverse()) {
      const list = node.parentNode;
      node.remove();
      if (/^[OU]L$/.test(list.tagName) && !list.children.length) list.remove();
    }
  }
}

function shapeOf({ kind, level, depth, number, lang, joined, paragraph }) {
  return [kind, level, depth, number, lang, joined, paragraph].join('|');
}

/** Text as nodes, with elements for emphasis and code. */
export function spans(text) {
  return inline(text).map(span);
}

function span(part) {
  if (part.kind === 'text') return document.createTextNode(part.text);
  if (part.kind === 'code') return el('code', { textContent: part.text });
  return el(part.kind, {}, ...part.children.map(span));
}

/** A figure for code: language, syntax status, copy button, and `code`, which receives the text. */
export function codeFigure(language = '') {
  const code = new CodeText();
  const name = el('span', { class: 'language', textContent: language || 'code' });
  const syntaxStatus = el('span', { class: 'syntax-status' });
  const caption = el('figcaption', {}, name, syntaxStatus, copyButton(() => code.node.textContent));
  const node = el('figure', { class: 'code' }, caption, el('pre', { tabIndex: 0, 'aria-label': 'Code' }, code.node));
  return { node, code, name, syntaxStatus };
}

/** Appends code in chunks of about 60 lines, because the browser lays out the last chunk again for each append. */
export class CodeText {
  #lines = 0;
  #chunk = null;

  node = el('code');

  push(text) {
    if (!text) return;
    if (!this.#chunk || this.#lines > 60) {
      const end = this.#chunk ? text.indexOf('\n') + 1 : 0;
      if (this.#chunk && !end) return this.#chunk.appendData(text);
      if (end) this.#chunk.appendData(text.slice(0, end));
      text = text.slice(end);
      this.#chunk = document.createTextNode('');
      this.node.append(el('span', { class: 'chunk' }, this.#chunk));
      this.#lines = 0;
    }
    this.#chunk.appendData(text);
    this.#lines += text.split('\n').length - 1;
  }
}
