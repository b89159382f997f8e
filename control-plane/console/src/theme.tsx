// Light or dark: as the system says, or as it was chosen here.

import { useState } from 'preact/hooks'

const NAME = 'highwater.theme'
type Theme = 'system' | 'light' | 'dark'

function chosen (): Theme {
  const kept = localStorage.getItem(NAME)
  return kept === 'light' || kept === 'dark' ? kept : 'system'
}

export function applyTheme () {
  document.documentElement.dataset.theme = chosen()
}

export function ThemeSwitch () {
  const [theme, set] = useState(chosen)
  const choose = (to: Theme) => {
    if (to === 'system') localStorage.removeItem(NAME)
    else localStorage.setItem(NAME, to)
    applyTheme()
    set(to)
  }
  return (
    <label class="theme">
      <span class="unseen">Theme</span>
      <select value={theme} onChange={event => choose(event.currentTarget.value as Theme)}>
        <option value="system">◐ Auto</option>
        <option value="light">◐ Light</option>
        <option value="dark">◐ Dark</option>
      </select>
    </label>
  )
}
