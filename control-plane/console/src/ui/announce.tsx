// What a screen reader is told without the focus moving: one live region for the whole console.

import { useEffect, useState } from 'preact/hooks'

let tell: (text: string) => void = () => {}

export function announce (text: string) {
  tell(text)
}

export function Announcements () {
  const [text, set] = useState('')
  useEffect(() => {
    // The same text again is told again only if it was away.
    tell = text => {
      set('')
      setTimeout(() => set(text), 50)
    }
    return () => { tell = () => {} }
  }, [])
  return <div class="unseen" role="status" aria-live="polite">{text}</div>
}
