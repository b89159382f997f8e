// The REST interface of the control plane, as the pages ask it.

import * as session from './session'
import type { Page } from './shapes'

/** A refusal: a problem document (RFC 9457), or what comes nearest when nobody answered. */
export class Problem extends Error {
  constructor (
    readonly title: string,
    readonly detail: string,
    /** HTTP status; 0 when there was no answer. */
    readonly status = 0,
    readonly code = '',
    readonly nextStep = '',
    readonly requestId = ''
  ) {
    super(detail || title)
  }

  /** Of a response, whatever is in it. */
  static async of (response: Response): Promise<Problem> {
    const body = await response.json().catch(() => ({})) as Record<string, unknown>
    const text = (name: string) => typeof body[name] === 'string' ? body[name] as string : ''
    const id = text('request_id') || (response.headers.get('request-id') ?? '')
    const title = text('title') || `The answer was ${response.status}`
    return new Problem(title, text('detail'), response.status, text('code'), text('next_step'), id)
  }

  /** Of whatever was thrown. */
  static from (error: unknown): Problem {
    if (error instanceof Problem) return error
    return new Problem('Something went wrong in this page', error instanceof Error ? error.message : String(error))
  }
}

export interface Ask {
  body?: unknown
  query?: Record<string, string | number | undefined>
  /** The version that is to be changed, as it was read. */
  etag?: string | null
  /** Makes a POST that is sent again the same one. */
  once?: string
  accept?: string
  /** Another credential than the session's. */
  credential?: string
  signal?: AbortSignal
}

export interface Answer<T> { value: T, etag: string | null }

/** Asks, and throws a [Problem] for every other answer than a good one. A credential that is none ends the session. */
export async function ask<T> (method: string, path: string, asked: Ask = {}): Promise<Answer<T>> {
  const response = await send(method, path, asked)
  const isEmpty = response.status === 204
  const value = (isEmpty ? undefined : await response.json()) as T
  return { value, etag: response.headers.get('etag') }
}

/** The same, for what is not JSON. */
export async function askText (path: string, asked: Ask): Promise<string> {
  return (await send('GET', path, asked)).text()
}

export async function get<T> (path: string, query?: Ask['query'], signal?: AbortSignal): Promise<T> {
  return (await ask<T>('GET', path, { query, signal })).value
}

/** All pages of a list that is short by nature. */
export async function all<T> (path: string, query: Ask['query'] = {}, signal?: AbortSignal): Promise<T[]> {
  const items: T[] = []
  let cursor: string | undefined
  do {
    const page: Page<T> = await get(path, { ...query, cursor }, signal)
    items.push(...page.items)
    cursor = page.next
  } while (cursor !== undefined && items.length < 10_000)
  return items
}

async function send (method: string, path: string, asked: Ask): Promise<Response> {
  const response = await fetch(path + queryOf(asked.query), {
    method,
    headers: headersOf(method, asked),
    body: asked.body === undefined ? undefined : JSON.stringify(asked.body),
    signal: asked.signal,
    cache: 'no-store',
    credentials: 'omit'
  }).catch((error: unknown) => {
    if (asked.signal?.aborted) throw error
    throw new Problem('The control plane does not answer', 'The request did not come through. It can be sent again.')
  })
  if (response.ok) return response
  const problem = await Problem.of(response)
  if (response.status === 401 && asked.credential === undefined) {
    session.end(problem.detail || 'The credential is not valid any more.')
  }
  throw problem
}

function headersOf (method: string, asked: Ask): Headers {
  const headers = new Headers({ Accept: asked.accept ?? 'application/json' })
  headers.set('Authorization', `Bearer ${asked.credential ?? session.current().credential ?? ''}`)
  if (asked.body !== undefined) {
    headers.set('Content-Type', method === 'PATCH' ? 'application/merge-patch+json' : 'application/json')
  }
  if (asked.etag) headers.set('If-Match', asked.etag)
  if (asked.once) headers.set('Idempotency-Key', asked.once)
  return headers
}

function queryOf (query: Ask['query'] = {}): string {
  const said = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') said.set(name, String(value))
  }
  const text = said.toString()
  return text && `?${text}`
}

/** A name that nobody else has: for what is sent once. Also where the page is not a secure context. */
export function unique (): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
}
