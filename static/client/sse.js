/**
 * A parser for Server-Sent Events, by the rules of the WHATWG HTML standard.
 *
 * It does no I/O. Chunks may split the bytes anywhere, even inside a character or
 * between CR and LF; the events are the same.
 */

/** @typedef {{type: string, data: string, id: string, raw: string}} Message */

export class SSEParser {
  // TextDecoder removes a leading BOM and keeps a split character for the next chunk.
  #decoder = new TextDecoder('utf-8');
  #line = '';
  #afterCR = false;
  #type = '';
  #data = [];
  #idBuffer = '';
  #raw = [];

  /** The id of the last event: the value for `Last-Event-ID`. */
  lastEventId = '';

  /** The last `retry:` value of the server, in milliseconds, or null. */
  retry = null;

  /**
   * @param {(raw: string) => void} [onComment] receives each block without an
   *   event: a comment, or `retry:` alone. A view of the raw stream can show it.
   */
  constructor(onComment = () => {}) {
    this.onComment = onComment;
  }

  /**
   * @param {Uint8Array|string} chunk
   * @returns {Message[]} the events that this chunk completed
   */
  push(chunk) {
    const text = typeof chunk === 'string' ? chunk : this.#decoder.decode(chunk, { stream: true });
    const out = [];
    let at = 0;
    if (this.#afterCR && text.length) {
      this.#afterCR = false;
      if (text[0] === '\n') at = 1;
    }
    // Only the new text is searched, so a long line in many chunks takes linear time.
    const breaks = /\r\n|\r|\n/g;
    breaks.lastIndex = at;
    for (let found = breaks.exec(text); found; found = breaks.exec(text)) {
      this.#endLine(this.#line + text.slice(at, found.index), out);
      this.#line = '';
      at = breaks.lastIndex;
      if (found[0] === '\r' && at === text.length) this.#afterCR = true;
    }
    this.#line += text.slice(at);
    return out;
  }

  #endLine(line, out) {
    if (line === '') return this.#dispatch(out);
    this.#raw.push(line);
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#type = value;
    else if (field === 'id' && !value.includes('\0')) this.#idBuffer = value;
    else if (field === 'retry' && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }

  #dispatch(out) {
    const raw = this.#raw.join('\n');
    this.lastEventId = this.#idBuffer;
    if (this.#data.length) {
      out.push({ type: this.#type || 'message', data: this.#data.join('\n'), id: this.lastEventId, raw });
    } else if (raw) {
      this.onComment(raw);
    }
    this.#type = '';
    this.#data = [];
    this.#raw = [];
  }
}
