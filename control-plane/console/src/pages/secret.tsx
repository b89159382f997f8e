// A secret that is shown this once: the dialog stays until its reader says that it is stored.

import type { ComponentChildren } from 'preact'
import { Copy } from '../ui/bits'
import { Dialog } from '../ui/dialog'

interface Told { title: string, secret: string, onClose: () => void, children?: ComponentChildren }

export function Secret ({ title, secret, onClose, children }: Told) {
  return (
    <Dialog title={title} onClose={onClose} insists wide>
      <p class="notice"><strong>It is shown this once.</strong> Nobody can look it up later: store it where your program finds it.</p>
      <div class="secret">
        <code tabIndex={0} aria-label="Secret">{secret}</code>
        <Copy text={secret} what="Copy" label="Copy the secret" />
      </div>
      {children}
      <div class="buttons"><button type="button" class="main" onClick={onClose}>I have stored it</button></div>
    </Dialog>
  )
}
