// Where in the console one is: the fragment of the address, so that the server has one page only.

import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'

function parts (): string[] {
  const path = location.hash.replace(/^#\/?/, '').split('?')[0] ?? ''
  try {
    return path.split('/').filter(Boolean).map(decodeURIComponent)
  } catch {
    return []
  }
}

/** The parts of the path, again whenever they change. */
export function useRoute (): string[] {
  const [route, set] = useState(parts)
  useEffect(() => {
    const listener = () => set(parts())
    addEventListener('hashchange', listener)
    return () => removeEventListener('hashchange', listener)
  }, [])
  return route
}

export function address (...to: string[]): string {
  return '#/' + to.map(encodeURIComponent).join('/')
}

export function go (...to: string[]) {
  location.hash = address(...to)
}

export function Link ({ to, current, children }: { to: string[], current?: boolean, children: ComponentChildren }) {
  return <a href={address(...to)} aria-current={current ? 'page' : undefined}>{children}</a>
}
