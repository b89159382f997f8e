// Forms: one submit at a time, and what was refused stands above the buttons.

import type { ComponentChildren } from 'preact'
import { useId, useRef, useState } from 'preact/hooks'
import { Problem, unique } from '../api'
import { ProblemView } from './problem'

interface Submitted {
  /** What the button says. */
  act: string
  danger?: boolean
  disabled?: boolean
  onCancel?: () => void
  /** Sends it. `once` is the same for as long as nobody has answered, so that a retry does not do it twice. */
  submit: (data: FormData, once: string) => Promise<void>
  children: ComponentChildren
}

export function Form ({ act, danger, disabled, onCancel, submit, children }: Submitted) {
  const [isBusy, setBusy] = useState(false)
  const [problem, setProblem] = useState<unknown>()
  const once = useRef(unique())
  const send = async (event: SubmitEvent) => {
    event.preventDefault()
    if (isBusy) return
    setBusy(true)
    setProblem(undefined)
    try {
      await submit(new FormData(event.target as HTMLFormElement), once.current)
      once.current = unique()
    } catch (error) {
      setProblem(error)
      if (Problem.from(error).status > 0) once.current = unique()
    }
    setBusy(false)
  }
  return (
    <form onSubmit={send}>
      {children}
      {problem !== undefined && <ProblemView error={problem} />}
      <div class="buttons">
        <button type="submit" class={danger ? 'danger' : 'main'} disabled={disabled} aria-busy={isBusy}>{act}</button>
        {onCancel && <button type="button" onClick={onCancel}>Cancel</button>}
      </div>
    </form>
  )
}

interface Labelled {
  label: string
  hint?: ComponentChildren
  children: (id: string, hintId: string | undefined) => ComponentChildren
}

/** A label, what is labelled, and a hint. */
export function Field ({ label, hint, children }: Labelled) {
  const id = useId()
  const hintId = hint ? `${id}-hint` : undefined
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(id, hintId)}
      {hint && <p class="hint" id={hintId}>{hint}</p>}
    </div>
  )
}

interface Texted {
  label: string
  name: string
  hint?: ComponentChildren
  value?: string
  required?: boolean
  type?: 'number'
  placeholder?: string
  pattern?: string
  min?: number
  max?: number
  maxLength?: number
  autofocus?: boolean
  mono?: boolean
  onInput?: (text: string) => void
}

/** One line of text. */
export function TextField ({ label, hint, value, mono, onInput, ...input }: Texted) {
  return (
    <Field label={label} hint={hint}>
      {(id, hintId) => (
        <input
          id={id}
          aria-describedby={hintId}
          autocomplete="off"
          spellcheck={false}
          class={mono ? 'mono' : undefined}
          {...(onInput ? { value } : { defaultValue: value })}
          onInput={event => onInput?.(event.currentTarget.value)}
          // What a type may be beside is a matter of whoever asks for it.
          {...input as object}
        />
      )}
    </Field>
  )
}

/** The trimmed text of a field. */
export function text (data: FormData, name: string): string {
  return String(data.get(name) ?? '').trim()
}

/** The number in a field, if there is one. */
export function number (data: FormData, name: string): number | undefined {
  const said = text(data, name)
  return said === '' ? undefined : Number(said)
}
