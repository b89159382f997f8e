// What a page reads before it can show something: one answer, or a list page by page.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { Problem, get } from './api'
import type { Page } from './shapes'
import { announce } from './ui/announce'

export interface Loaded<T> {
  value: T | undefined
  problem: Problem | undefined
  isLoading: boolean
  /** Reads it anew; what is shown stays until then. */
  reload: () => void
}

/** Reads something, and anew when one of `about` changes. */
export function useLoaded<T> (read: (signal: AbortSignal) => Promise<T>, about: unknown[]): Loaded<T> {
  const [turn, setTurn] = useState(0)
  const [state, set] = useState<Omit<Loaded<T>, 'reload'>>({ value: undefined, problem: undefined, isLoading: true })
  const shown = useRef('')
  const subject = JSON.stringify(about)
  useEffect(() => {
    const abort = new AbortController()
    // Of another subject, nothing that is shown is true.
    const kept = shown.current === subject
    shown.current = subject
    set(was => kept ? { ...was, isLoading: true } : { value: undefined, problem: undefined, isLoading: true })
    read(abort.signal).then(
      value => { if (!abort.signal.aborted) set({ value, problem: undefined, isLoading: false }) },
      error => { if (!abort.signal.aborted) set(was => ({ ...was, problem: Problem.from(error), isLoading: false })) }
    )
    return () => abort.abort()
  }, [subject, turn])
  const reload = useCallback(() => setTurn(turn => turn + 1), [])
  return { ...state, reload }
}

export interface Listed<T> extends Loaded<T[]> {
  /** Reads the next page, if there is one. */
  more: (() => void) | undefined
}

/** Reads a list, page after page as it is asked for. */
export function useList<T> (path: string, query: Record<string, string | number | undefined> = {}): Listed<T> {
  const read = (cursor?: string, signal?: AbortSignal) => get<Page<T>>(path, { limit: 50, ...query, cursor }, signal)
  const { value: first, ...loaded } = useLoaded(signal => read(undefined, signal), [path, query])
  // What was read after the first page belongs to that one.
  const [later, setLater] = useState<{ of: Page<T>, items: T[], next?: string, problem?: Problem, isLoading: boolean }>()
  const rest = later && later.of === first ? later : undefined
  if (!first) return { ...loaded, value: undefined, more: undefined }
  const so = rest ?? { of: first, items: first.items, next: first.next, isLoading: false }
  const more = so.next === undefined ? undefined : () => {
    setLater({ ...so, problem: undefined, isLoading: true })
    read(so.next).then(
      page => {
        setLater({ of: first, items: [...so.items, ...page.items], next: page.next, isLoading: false })
        announce(`${page.items.length} more`)
      },
      error => setLater({ ...so, problem: Problem.from(error), isLoading: false })
    )
  }
  return {
    ...loaded,
    value: so.items,
    problem: loaded.problem ?? rest?.problem,
    isLoading: loaded.isLoading || so.isLoading,
    more
  }
}
