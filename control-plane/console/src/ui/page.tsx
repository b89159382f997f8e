// The frame of a page: its heading, where it is, and its sections.

import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { Link } from '../router'

interface Framed {
  title: string
  /** What is beside the title. */
  badge?: ComponentChildren
  /** The pages above it. */
  above?: { name: string, to: string[] }[]
  sections?: { name: string, to: string[], isCurrent: boolean }[]
  actions?: ComponentChildren
  children: ComponentChildren
}

/** A page that is loaded does not take the focus: nobody has asked for its heading yet. */
let isFirst = true

/** From here on, pages are come to. */
export function hasBegun () {
  isFirst = false
}

export function Page ({ title, badge, above = [], sections = [], actions, children }: Framed) {
  const heading = useRef<HTMLHeadingElement>(null)
  const section = sections.find(section => section.isCurrent)?.name
  useEffect(() => { document.title = [section, title, 'Highwater'].filter(Boolean).join(' · ') }, [section, title])
  useLayoutEffect(() => {
    if (!isFirst) heading.current?.focus()
    hasBegun()
  }, [])
  return (
    <>
      {above.length > 0 && (
        <nav class="above" aria-label="Pages above this one">
          <ol>{above.map(page => <li key={page.name}><Link to={page.to}>{page.name}</Link></li>)}</ol>
        </nav>
      )}
      <div class="heading">
        <h1 ref={heading} tabIndex={-1}>{title}</h1>
        {badge}
        {actions && <div class="buttons">{actions}</div>}
      </div>
      {sections.length > 0 && (
        <nav class="sections" aria-label={`Sections of ${title}`}>
          <ul>
            {sections.map(section => (
              <li key={section.name}><Link to={section.to} current={section.isCurrent}>{section.name}</Link></li>
            ))}
          </ul>
        </nav>
      )}
      {children}
    </>
  )
}
