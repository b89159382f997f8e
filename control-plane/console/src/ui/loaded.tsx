// What is shown of something that is being read, could not be read, or was.

import type { ComponentChildren } from 'preact'
import type { Listed, Loaded } from '../load'
import { Page } from './page'
import { ProblemView } from './problem'
import { type Column, Table } from './table'

interface Shown<T> {
  of: Loaded<T>
  /** What it is, where it is the whole page. */
  page?: string
  children: (value: T) => ComponentChildren
}

export function Show<T> ({ page, ...shown }: Shown<T>) {
  if (page === undefined || shown.of.value !== undefined) return <Part {...shown} />
  return <Page title={page} above={[{ name: 'Tenants', to: ['tenants'] }]}><Part {...shown} /></Page>
}

function Part<T> ({ of, children }: Shown<T>) {
  return (
    <>
      {of.problem && <ProblemView error={of.problem} onRetry={of.reload} />}
      {of.value === undefined && of.isLoading && <p class="quiet" role="status">Reading…</p>}
      {of.value !== undefined && children(of.value)}
    </>
  )
}

interface Rows<T> {
  of: Listed<T>
  caption: string
  columns: Column<T>[]
  id: (row: T) => string | number
  empty: ComponentChildren
}

/** A list as a table, with a button for what was not read yet. */
export function List<T> ({ of, ...table }: Rows<T>) {
  return (
    <Show of={of}>
      {rows => (
        <>
          <Table rows={rows} {...table} />
          {of.more && <button type="button" class="more" aria-busy={of.isLoading} onClick={of.more}>Show more</button>}
        </>
      )}
    </Show>
  )
}
