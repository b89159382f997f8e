// Dialogs: the browser keeps the focus in them, and gives it back to where it was.

import type { ComponentChildren } from 'preact'
import { useId, useLayoutEffect, useRef } from 'preact/hooks'
import { Form } from './form'

interface Shown {
  title: string
  onClose: () => void
  /** Escape does not close it: what it shows is not shown again. */
  insists?: boolean
  wide?: boolean
  children: ComponentChildren
}

export function Dialog ({ title, onClose, insists, wide, children }: Shown) {
  const place = useRef<HTMLDialogElement>(null)
  const isGone = useRef(false)
  const id = useId()
  // Before the next key comes in.
  useLayoutEffect(() => {
    const dialog = place.current
    dialog?.showModal()
    return () => {
      // The event comes later, when another dialog may be open.
      isGone.current = true
      dialog?.close()
    }
  }, [])
  return (
    <dialog
      ref={place}
      class={wide ? 'wide' : undefined}
      aria-labelledby={id}
      onClose={() => { if (!isGone.current) onClose() }}
      closedby={insists ? 'none' : undefined}
      onCancel={event => { if (insists) event.preventDefault() }}
    >
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  )
}

interface Asked {
  title: string
  act: string
  /** What is to be typed, for what cannot be undone. */
  type?: string
  onClose: () => void
  submit: (once: string) => Promise<void>
  children: ComponentChildren
}

/** Asks before something is done that is not easily undone. */
export function Confirm ({ title, act, type, onClose, submit, children }: Asked) {
  return (
    <Dialog title={title} onClose={onClose}>
      <Form act={act} danger onCancel={onClose} submit={(_, once) => submit(once)}>
        {children}
        {type && (
          <label class="field">
            <span>Type <strong>{type}</strong> to go on</span>
            <input name="typed" required pattern={literally(type)} autocomplete="off" autofocus />
          </label>
        )}
      </Form>
    </Dialog>
  )
}

/** A pattern of the attribute, which is read with the flag `v`. */
function literally (text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/&!#%,:;<=>@`~-]/g, '\\$&')
}
