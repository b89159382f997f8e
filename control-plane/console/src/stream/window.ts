// The newest of what a subscription has brought: bounded, filtered, and held still while it is paused.

import type { Happening } from './follow'
import { type Gap, type StreamRecord, payload } from './records'

/** How many lines are kept. */
export const KEPT_MAX = 500

export type Line = { at: number } & ({ kind: 'record', record: StreamRecord } | { kind: 'gap', gap: Gap })

export interface Window {
  /** Newest first. */
  lines: Line[]
  /** Lines that were let go, as there is no end to them. */
  dropped: number
  /** What has come while it was paused, newest first. */
  held: Line[]
  /** All that ever came. */
  received: number
}

export const EMPTY: Window = { lines: [], dropped: 0, held: [], received: 0 }

/** Takes in what happened. What is paused is kept aside. */
export function take (window: Window, happenings: Happening[], isPaused: boolean): Window {
  const lines: Line[] = []
  for (const happening of happenings) {
    const at = window.received + lines.length
    if (happening.kind === 'record') lines.unshift({ at, kind: 'record', record: happening.record })
    if (happening.kind === 'gap') lines.unshift({ at, kind: 'gap', gap: happening.gap })
  }
  if (lines.length === 0) return window
  const received = window.received + lines.length
  const into = isPaused ? window.held : window.lines
  const all = [...lines, ...into]
  const kept = all.slice(0, KEPT_MAX)
  const dropped = window.dropped + all.length - kept.length
  return isPaused ? { ...window, held: kept, dropped, received } : { ...window, lines: kept, dropped, received }
}

/** Goes on after a pause. */
export function release (window: Window): Window {
  const all = [...window.held, ...window.lines]
  const lines = all.slice(0, KEPT_MAX)
  return { ...window, lines, held: [], dropped: window.dropped + all.length - lines.length }
}

/** Whether a line has a text in its topic, key or payload. Gaps are always told. */
export function matches (line: Line, text: string): boolean {
  if (line.kind === 'gap' || text === '') return true
  const { record } = line
  const wanted = text.toLowerCase()
  return [record.topic, record.key ?? '', payload(record)].some(part => part.toLowerCase().includes(wanted))
}
