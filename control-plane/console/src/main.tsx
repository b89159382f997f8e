// Starts the console. The script is read before the page is drawn, so that the page is drawn in its theme at once.

import { render } from 'preact'
import { App } from './app'
import { applyTheme } from './theme'

applyTheme()
document.addEventListener('DOMContentLoaded', () => {
  const place = document.getElementById('console')
  if (place) render(<App />, place)
})
