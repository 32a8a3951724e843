/**
 * What can go wrong, as two classes: the server said no (`ApiError`), or nobody
 * said anything (`ConnectionLost`). Only the second is mended by resuming.
 */

/** A request the server refused, or a generation that failed. */
export class ApiError extends Error {
  /**
   * @param {object} problem the `application/problem+json` object
   * @param {number} [status]
   */
  constructor(problem, status = problem.status ?? 0) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.name = 'ApiError';
    /** The problem object, whole. */
    this.problem = problem;
    this.status = status;
    this.code = problem.code ?? '';
    this.title = problem.title ?? '';
    this.detail = problem.detail ?? '';
    /** @type {{detail: string, pointer: string}[]} one per field */
    this.errors = problem.errors ?? [];
    this.retryable = problem.retryable ?? false;
    /** Seconds, or null. */
    this.retryAfter = problem.retry_after ?? null;
    this.requestId = problem.request_id ?? '';
    this.generation = problem.generation ?? '';
  }

  /**
   * The error of a refused response; also of one that is no problem document,
   * such as a proxy's HTML page.
   * @param {Response} response
   */
  static async from(response) {
    let problem = null;
    try {
      problem = await response.json();
    } catch {
      // Not JSON: the status is all there is.
    }
    if (!problem || typeof problem !== 'object' || Array.isArray(problem)) problem = {};
    const wait = Number(response.headers.get('Retry-After') ?? NaN);
    return new ApiError(
      {
        title: response.statusText || `HTTP ${response.status}`,
        retryable: [408, 429, 500, 502, 503, 504].includes(response.status),
        request_id: response.headers.get('X-Request-Id') ?? '',
        ...problem,
        retry_after: problem.retry_after ?? (Number.isFinite(wait) ? wait : null),
      },
      response.status,
    );
  }
}

/** The connection ended, or fell silent, before the stream's ending event. */
export class ConnectionLost extends Error {
  constructor(message = 'Connection lost.') {
    super(message);
    this.name = 'ConnectionLost';
  }
}
