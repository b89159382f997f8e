// The live tail of a project: what is published as it comes, and a form that publishes.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { Problem, ask } from '../api'
import { useKnown } from '../app'
import type { Project } from '../shapes'
import { topicOf } from '../snippets'
import { DataPlane, NodeProblem } from '../stream/data-plane'
import { type Happening, follow } from '../stream/follow'
import { EMPTY, type Window, matches, release, take } from '../stream/window'
import { announce } from '../ui/announce'
import { Copy, count } from '../ui/bits'
import { ProblemView } from '../ui/problem'
import { Field, TextField, text } from '../ui/form'
import { Publish } from './publish'
import { Lines } from './records'

/** How often what has come is shown, at most, as more often only costs; and at least. */
const SHOW_MS = 100
const SHOW_MS_MAX = 1_000
/** Drawing has this part of the time, so that a flood leaves the page to its user. */
const SHARE = 1 / 4

const FROMS: [string, string][] = [
  ['latest', 'What comes from now on'],
  ['last:50', 'The last 50 records'],
  ['earliest', 'All that is retained'],
  ['retained', 'Each topic’s retained record'],
  ['time', 'A time'],
  ['cursor', 'A cursor']
]

interface Subscription { filter: string, from: string }

type Status = { kind: 'idle' } | { kind: 'connecting' } | { kind: 'open' } | { kind: 'lost', problem: Problem } | { kind: 'refused', problem: Problem }

export function Live ({ path, onChange }: { path: string, onChange: () => void }) {
  const { nodes } = useKnown()
  const plane = useMemo(() => new DataPlane(nodes, path), [nodes, path])
  const [subscription, subscribe] = useState<Subscription>()
  const tail = useTail(plane, subscription)
  if (nodes.length === 0) {
    return (
      <section aria-labelledby="live">
        <h2 id="live">Live</h2>
        <p class="notice">The control plane has not been told where browsers reach the nodes: <code>console.nodes</code> in its configuration.</p>
      </section>
    )
  }
  const retry = () => subscription && subscribe({ ...subscription })
  return (
    <div class="live">
      <section aria-labelledby="live">
        <h2 id="live">Live</h2>
        <Subscribe
          isFollowing={tail.status.kind !== 'idle' && tail.status.kind !== 'refused'}
          onSubscribe={subscribe}
          onStop={() => subscribe(undefined)}
        />
        <StatusLine status={tail.status} filter={subscription?.filter ?? ''} />
        {(tail.status.kind === 'refused' || tail.status.kind === 'lost') && (
          <Refused problem={tail.status.problem} plane={plane} path={path} onAllowed={() => { onChange(); retry() }} />
        )}
        {subscription && <Tail tail={tail} />}
      </section>
      <Publish plane={plane} topic={topicOf(subscription?.filter ?? '#')} path={path} onAllowed={onChange} />
    </div>
  )
}

interface TailState {
  status: Status
  window: Window
  cursor: string
  isPaused: boolean
  pause: (isPaused: boolean) => void
  clear: () => void
}

/** Follows a subscription for as long as it is wanted. */
function useTail (plane: DataPlane, subscription: Subscription | undefined): TailState {
  const [status, setStatus] = useState<Status>({ kind: 'idle' })
  const [window, setWindow] = useState(EMPTY)
  const [cursor, setCursor] = useState('')
  const [isPaused, setPaused] = useState(false)
  const paused = useRef(false)
  // What has come, which is shown a little later.
  const newest = useRef(EMPTY)
  const change = (to: Window) => {
    newest.current = to
    setWindow(to)
  }
  useEffect(() => {
    if (!subscription) return setStatus({ kind: 'idle' })
    const abort = new AbortController()
    let last = ''
    change(EMPTY)
    setCursor('')
    setStatus({ kind: 'connecting' })
    const stop = paced(() => {
      setWindow(newest.current)
      setCursor(last)
    })
    const on = (happenings: Happening[], cursor: string) => {
      last = cursor
      newest.current = take(newest.current, happenings, paused.current)
      for (const happening of happenings) {
        if (happening.kind === 'open') setStatus({ kind: 'open' })
        if (happening.kind === 'lost') setStatus({ kind: 'lost', problem: happening.problem })
      }
    }
    follow(plane, subscription.filter, subscription.from, abort.signal, on).catch(error => {
      if (!abort.signal.aborted) setStatus({ kind: 'refused', problem: Problem.from(error) })
    })
    return () => {
      abort.abort()
      stop()
    }
  }, [plane, subscription])
  const pause = (to: boolean) => {
    paused.current = to
    setPaused(to)
    if (!to) change(release(newest.current))
  }
  return { status, window, cursor, isPaused, pause, clear: () => change(EMPTY) }
}

/** Does something again and again, as often as drawing what it has changed allows. */
function paced (act: () => void): () => void {
  let timer = 0
  let isOver = false
  const turn = () => {
    const begun = performance.now()
    act()
    // After the next picture, which is long in coming when nobody sees the page.
    requestAnimationFrame(() => setTimeout(() => {
      const pauseMs = Math.max(SHOW_MS, Math.min(SHOW_MS_MAX, (performance.now() - begun) / SHARE))
      if (!isOver) timer = window.setTimeout(turn, pauseMs)
    }))
  }
  turn()
  return () => {
    isOver = true
    clearTimeout(timer)
  }
}

interface Wanted { isFollowing: boolean, onSubscribe: (to: Subscription) => void, onStop: () => void }

function Subscribe ({ isFollowing, onSubscribe, onStop }: Wanted) {
  const [from, setFrom] = useState('latest')
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const data = new FormData(event.target as HTMLFormElement)
    const detail = text(data, 'detail')
    onSubscribe({ filter: text(data, 'filter'), from: from === 'time' || from === 'cursor' ? `${from}:${detail}` : from })
  }
  return (
    <form class="subscribe" onSubmit={submit}>
      <TextField label="Topics" name="filter" mono required value="#" placeholder="orders/#" />
      <Field label="From">
        {id => (
          <select id={id} value={from} onChange={event => setFrom(event.currentTarget.value)}>
            {FROMS.map(([value, name]) => <option key={value} value={value}>{name}</option>)}
          </select>
        )}
      </Field>
      {from === 'time' && <TextField label="Time" name="detail" mono required placeholder="2026-11-28T11:00:00Z" key="time" />}
      {from === 'cursor' && <TextField label="Cursor" name="detail" mono required key="cursor" />}
      <div class="buttons">
        <button type="submit" class="main">{isFollowing ? 'Follow anew' : 'Follow'}</button>
        {isFollowing && <button type="button" onClick={onStop}>Stop</button>}
      </div>
    </form>
  )
}

function StatusLine ({ status, filter }: { status: Status, filter: string }) {
  const texts: Record<Status['kind'], string> = {
    idle: 'Not following',
    connecting: 'Connecting…',
    open: `Following ${filter}`,
    lost: 'Connection lost; coming back from the last cursor',
    refused: 'Refused'
  }
  return <p class={`status ${status.kind}`} role="status">{texts[status.kind]}</p>
}

function Tail ({ tail }: { tail: TailState }) {
  const [wanted, setWanted] = useState('')
  const { window, isPaused } = tail
  const shown = window.lines.filter(line => matches(line, wanted))
  return (
    <>
      <div class="toolbar">
        <button type="button" aria-pressed={isPaused} onClick={() => tail.pause(!isPaused)}>
          {isPaused ? `Go on (${count(window.held.length)} new)` : 'Pause'}
        </button>
        <button type="button" onClick={tail.clear}>Clear</button>
        <label class="filter">
          <span>Show only</span>
          <input type="search" value={wanted} onInput={event => setWanted(event.currentTarget.value)} placeholder="text in topic, key or payload" />
        </label>
      </div>
      <p class="counts">
        <span>{count(window.received)} received{wanted && `, ${count(shown.length)} shown`}{window.dropped > 0 && `, the oldest ${count(window.dropped)} let go`}</span>
        {tail.cursor && <span class="cursor">Cursor <code>{tail.cursor}</code> <Copy text={tail.cursor} what="Copy" label="Copy the cursor" /></span>}
      </p>
      <Lines lines={shown} isEmpty={window.received === 0} />
    </>
  )
}

interface Refusal { problem: Problem, plane: DataPlane, path: string, onAllowed: () => void }

/** A refusal of the data plane. When it may be for the page's origin, a button lets the project allow it. */
export function Refused ({ problem, plane, path, onAllowed }: Refusal) {
  const [failure, setFailure] = useState<unknown>()
  const [isBusy, setBusy] = useState(false)
  const mayBeOrigin = problem instanceof NodeProblem && problem.mayBeOrigin
  const allow = async () => {
    setBusy(true)
    setFailure(undefined)
    try {
      const { value, etag } = await ask<Project>('GET', path)
      if (!value.origins.includes(location.origin)) {
        await ask('PATCH', path, { body: { origins: [...value.origins, location.origin] }, etag })
      }
      announce('This page may use the project')
      plane.isAllowed()
      onAllowed()
    } catch (error) {
      setFailure(error)
    }
    setBusy(false)
  }
  return (
    <>
      <ProblemView error={problem} />
      {mayBeOrigin && (
        <p class="notice">
          {problem.status === 0 && 'If the nodes are up, they may not let this page in. '}
          Only pages of the project’s origins may use it from a browser. This page’s is <code>{location.origin}</code>.{' '}
          <button type="button" aria-busy={isBusy} onClick={allow}>Allow this page</button>
        </p>
      )}
      {failure !== undefined && <ProblemView error={failure} />}
    </>
  )
}
