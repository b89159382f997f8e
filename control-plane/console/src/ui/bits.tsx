// Small things that many pages show: states, times, ids, amounts, and what copies a text.

import { useRef, useState } from 'preact/hooks'
import type { Permission, State } from '../shapes'
import { announce } from './announce'

export function StateBadge ({ state }: { state: State | 'disabled' | 'expired' | 'up' | 'down' | 'asleep' }) {
  return <span class={`badge ${state}`}>{state}</span>
}

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

export function Time ({ at }: { at: string | undefined }) {
  if (!at) return <>–</>
  return <time dateTime={at} title={at}>{DATE.format(new Date(at))}</time>
}

/** An id with a button that copies it. */
export function Id ({ id }: { id: string }) {
  return <span class="id"><code>{id}</code> <Copy text={id} what="Copy" label={`Copy ${id}`} /></span>
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

export function bytes (amount: number): string {
  let unit = 0
  while (amount >= 1024 && unit < UNITS.length - 1) {
    amount /= 1024
    unit++
  }
  return `${amount.toLocaleString(undefined, { maximumFractionDigits: amount < 10 && unit > 0 ? 1 : 0 })} ${UNITS[unit]}`
}

export function count (amount: number): string {
  return amount.toLocaleString()
}

export function Permissions ({ of }: { of: Permission[] }) {
  return (
    <ul class="plain">
      {of.map((permission, at) => <li key={at}>{permission.operations.join(', ')} <code>{permission.topics}</code></li>)}
    </ul>
  )
}

interface Copied {
  text: string
  what: string
  /** What it is called, where the button alone does not say it. */
  label?: string
  onCopied?: () => void
}

export function Copy ({ text, what, label, onCopied }: Copied) {
  const [isDone, setDone] = useState(false)
  const timer = useRef(0)
  const copy = async () => {
    if (!await copied(text)) {
      announce('The browser does not let the page copy: select the text, and copy it.')
      return
    }
    setDone(true)
    announce('Copied')
    onCopied?.()
    clearTimeout(timer.current)
    timer.current = window.setTimeout(() => setDone(false), 2_000)
  }
  return <button type="button" class="copy" aria-label={label} onClick={copy}>{isDone ? 'Copied' : what}</button>
}

/** The clipboard's own interface is for secure contexts; a page of plain HTTP has the older one. */
async function copied (text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    const area = document.createElement('textarea')
    const before = document.activeElement
    area.value = text
    area.className = 'unseen'
    // In a dialog, nothing outside of it can be selected.
    const place = document.querySelector('dialog[open]') ?? document.body
    place.append(area)
    area.select()
    const isDone = document.execCommand('copy')
    area.remove()
    if (before instanceof HTMLElement) before.focus()
    return isDone
  }
}
