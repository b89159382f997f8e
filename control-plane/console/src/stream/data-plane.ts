// The way to the data plane: short tokens, and the next node when one does not answer.

import { Problem, ask, unique } from '../api'
import { inPath } from '../snippets'
import type { Permission, Token } from '../shapes'
import type { PublishResult } from './records'

const LIFETIME_MS = 900_000
/** A token is not used when so little of its time is left. */
const MARGIN_MS = 60_000
/** How long nodes may take to hear of a change of the catalogue, and how often they are asked. */
const PATIENCE_MS = 5_000
const PATIENCE_STEP_MS = 200

/** The data plane as one project sees it. */
export class DataPlane {
  private at = 0
  private readonly tokens = new Map<string, Token>()
  private patientUntil = 0

  constructor (private readonly nodes: string[], private readonly project: string) {}

  /** Publishes one message. It is one message, too, when the first node has taken it and not answered. */
  async publish (topic: string, headers: Record<string, string>, body: string): Promise<PublishResult> {
    const permission: Permission = { operations: ['publish'], topics: topic }
    const once = unique()
    const response = await this.request(`/v1/messages/${inPath(topic)}`, permission, {
      method: 'POST',
      headers: { ...headers, 'Idempotency-Key': once },
      body
    })
    return await response.json() as PublishResult
  }

  /** Opens an event stream. */
  subscribe (filter: string, from: string, signal: AbortSignal): Promise<Response> {
    const query = new URLSearchParams({ topic: filter, from })
    return this.request(`/v1/sse?${query}`, { operations: ['subscribe'], topics: filter }, { signal, headers: { Accept: 'text/event-stream' } })
  }

  /** Gives a stream that is open another token. Where it is another node's, the stream's end is what renews it. */
  async renew (filter: string, path: string, signal: AbortSignal): Promise<void> {
    const permission: Permission = { operations: ['subscribe'], topics: filter }
    this.tokens.delete(JSON.stringify(permission))
    await this.request(path, permission, { method: 'POST', signal }).catch(() => {})
  }

  /** The project allows this page from now on: what nodes refuse because they have not heard of it yet is asked again. */
  isAllowed () {
    this.patientUntil = Date.now() + PATIENCE_MS
  }

  private async request (path: string, permission: Permission, init: RequestInit): Promise<Response> {
    let isRenewed = false
    for (let missed = 0; ;) {
      const token = await this.token(permission)
      const response = await this.fetch(path, token, init)
      if (response?.ok) return response
      if (!response) {
        missed++
        this.at++
        if (missed >= this.nodes.length) throw NodeProblem.unreachable(this.nodes)
        continue
      }
      const problem = NodeProblem.ofNode(await Problem.of(response))
      if (response.status === 403 && Date.now() < this.patientUntil) {
        await new Promise(resolve => setTimeout(resolve, PATIENCE_STEP_MS))
        continue
      }
      // It may have been revoked, or its key have changed: another one is tried, once.
      if (response.status !== 401 || isRenewed) throw problem
      isRenewed = true
      this.tokens.delete(JSON.stringify(permission))
    }
  }

  private async fetch (path: string, token: string, init: RequestInit): Promise<Response | undefined> {
    const node = this.nodes[this.at % this.nodes.length] ?? ''
    const headers = { ...init.headers, Authorization: `Bearer ${token}` }
    try {
      return await fetch(node + path, { ...init, headers, cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer' })
    } catch (error) {
      if (init.signal?.aborted) throw error
      return undefined
    }
  }

  private async token (permission: Permission): Promise<string> {
    const name = JSON.stringify(permission)
    const kept = this.tokens.get(name)
    if (kept && Date.parse(kept.expires_at) > Date.now() + MARGIN_MS) return kept.token
    const body = { permissions: [permission], lifetime_ms: LIFETIME_MS }
    const made = (await ask<Token>('POST', `${this.project}/tokens`, { body })).value
    this.tokens.set(name, made)
    return made.token
  }
}

/** What a node refuses, or the way to it. */
export class NodeProblem extends Problem {
  /** A node has what to do next for a title. */
  static ofNode (problem: Problem): NodeProblem {
    const nextStep = problem.detail.includes(problem.title) ? '' : problem.title
    return new NodeProblem('The node has refused it', problem.detail, problem.status, problem.code, nextStep, problem.requestId)
  }

  static unreachable (nodes: string[]): NodeProblem {
    return new NodeProblem('No node answers', `This page cannot reach ${nodes.join(', ')}.`)
  }

  /** Whether it may be that this page is none of those that the project allows. */
  get mayBeOrigin () {
    return this.status === 403 || this.status === 0
  }
}
