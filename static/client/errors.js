/**
 * The two errors of the client. `ApiError`: the server answered with an error.
 * `ConnectionLost`: the connection broke; only then does resuming help.
 */

/** The server refused a request, or a generation failed. */
export class ApiError extends Error {
  /**
   * @param {object} problem the `application/problem+json` object (RFC 9457)
   * @param {number} [status] the HTTP status
   */
  constructor(problem, status = problem.status ?? 0) {
    super(problem.detail || problem.title || `The server answered with status ${status}.`);
    this.name = 'ApiError';
    /** The complete problem object. */
    this.problem = problem;
    this.status = status;
    this.code = problem.code ?? '';
    this.title = problem.title ?? '';
    this.detail = problem.detail ?? '';
    /** @type {{detail: string, pointer: string}[]} one entry per invalid field */
    this.errors = problem.errors ?? [];
    /** Whether the same request can succeed later. */
    this.retryable = problem.retryable ?? false;
    /** The seconds to wait before a retry, or null. */
    this.retryAfter = problem.retry_after ?? null;
    this.requestId = problem.request_id ?? '';
    this.generation = problem.generation ?? '';
  }

  /**
   * The error for a response that is not 2xx. The body may be something else than a
   * problem document, such as the HTML page of a proxy.
   * @param {Response} response
   */
  static async from(response) {
    let problem = null;
    try {
      problem = await response.json();
    } catch {
      // Not JSON: only the status and the headers describe the error.
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

/** The connection closed, or was silent for too long, before the stream's ending event. */
export class ConnectionLost extends Error {
  constructor(message = 'The connection was lost.') {
    super(message);
    this.name = 'ConnectionLost';
  }
}
