// Signing in: with an operator's key, or a token of the identity provider that the control plane trusts.

import { useEffect, useState } from 'preact/hooks'
import { Problem, ask } from '../api'
import * as session from '../session'
import { ThemeSwitch } from '../theme'
import { Field, Form, text } from '../ui/form'
import { hasBegun } from '../ui/page'

export function SignIn ({ farewell }: { farewell: string }) {
  const [isShown, show] = useState(false)
  useEffect(() => {
    document.title = 'Sign in · Highwater'
    hasBegun()
  }, [])
  const submit = async (data: FormData) => {
    const credential = text(data, 'credential').replace(/^Bearer\s+/i, '')
    if (!/^[!-~]+$/.test(credential)) {
      throw new Problem('This is no credential', 'A key begins with hwa_, a token with eyJ; neither has spaces in it.')
    }
    await ask('GET', '/v1/tenants', { query: { limit: 1 }, credential })
    session.begin(credential)
  }
  return (
    <main class="sign-in">
      <h1><img src="icon.svg" alt="" width="36" height="36" /> Highwater</h1>
      {farewell && <p class="notice" role="status">You were signed out. {farewell}</p>}
      <Form act="Sign in" submit={submit}>
        <Field label="Key or token" hint="An operator’s key (hwa_…), or a token of your identity provider. It is kept in this tab only, until you close it.">
          {(id, hintId) => (
            <span class="joined">
              <input
                id={id}
                name="credential"
                class="mono"
                {...(isShown ? { type: 'text' as const } : { type: 'password' as const })}
                aria-describedby={hintId}
                autocomplete="off"
                spellcheck={false}
                required
                autofocus
              />
              <button type="button" aria-pressed={isShown} onClick={() => show(!isShown)}>Show</button>
            </span>
          )}
        </Field>
      </Form>
      <footer><a href="/docs/">The REST interface</a> <ThemeSwitch /></footer>
    </main>
  )
}
