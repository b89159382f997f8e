// What a tenant or a project may use.

import { ask } from '../api'
import { useLoaded } from '../load'
import { QUOTAS } from '../quota-names'
import type { Quotas } from '../shapes'
import { announce } from '../ui/announce'
import { Form, TextField, number } from '../ui/form'
import { Show } from '../ui/loaded'

interface Used { path: string, of: string, mayChange?: boolean, onChange?: () => void }

export function QuotasForm ({ path, of, mayChange = true, onChange }: Used) {
  const quotas = useLoaded(signal => ask<Quotas>('GET', `${path}/quotas`, { signal }), [path])
  const save = async (data: FormData, etag: string | null) => {
    const body: Quotas = {}
    for (const { key } of QUOTAS) body[key] = number(data, key)
    await ask('PUT', `${path}/quotas`, { body, etag })
    announce('Saved')
    quotas.reload()
    onChange?.()
  }
  return (
    <section aria-labelledby="quotas">
      <h2 id="quotas">Quotas</h2>
      <p>{of} What is left empty is without limit.</p>
      <Show of={quotas}>
        {({ value, etag }) => mayChange
          ? (
            <Form act="Save" submit={data => save(data, etag)} key={etag ?? ''}>
              <div class="columns">
                {QUOTAS.map(({ key, label, unit }) => (
                  <TextField
                    key={key}
                    name={key}
                    label={label}
                    hint={unit}
                    type="number"
                    min={1}
                    max={key === 'payload_bytes' ? 1_048_576 : undefined}
                    value={value[key]?.toString()}
                    placeholder="no limit"
                  />
                ))}
              </div>
            </Form>
            )
          : (
            <dl class="facts">
              {QUOTAS.map(({ key, label, unit, show }) => {
                const amount = value[key]
                return <div key={key}><dt>{label}</dt><dd>{amount === undefined ? 'no limit' : `${show(amount)} (${unit})`}</dd></div>
              })}
            </dl>
            )}
      </Show>
    </section>
  )
}
