// The credential, for as long as the tab is open. It is in this tab's storage and in headers, and never in an address.

import { useEffect, useState } from 'preact/hooks'

const NAME = 'highwater.credential'

let credential = sessionStorage.getItem(NAME)
/** Why there is none any more. */
let farewell = ''
const listeners = new Set<() => void>()

function change (to: string | null, why: string) {
  credential = to
  farewell = why
  if (to === null) sessionStorage.removeItem(NAME)
  else sessionStorage.setItem(NAME, to)
  for (const listener of listeners) listener()
}

export function begin (text: string) {
  change(text, '')
}

/** Forgets the credential. With a reason, it was not the user who wanted it. */
export function end (why = '') {
  if (credential !== null) change(null, why)
}

export function current () {
  return { credential, farewell }
}

export function useSession () {
  const [now, set] = useState(current)
  useEffect(() => {
    const listener = () => set(current())
    listeners.add(listener)
    return () => { listeners.delete(listener) }
  }, [])
  return now
}
