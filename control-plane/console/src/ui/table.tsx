// Tables that become lists of cards where there is no room for columns. Their roles are said, as styles take them away.

import type { ComponentChildren } from 'preact'

export interface Column<T> {
  name: string
  cell: (row: T) => ComponentChildren
  isNumber?: boolean
  /** Buttons, which need no heading to be seen. */
  isActions?: boolean
}

interface Rows<T> {
  caption: string
  columns: Column<T>[]
  rows: T[]
  id: (row: T) => string | number
  /** What is said when there are none. */
  empty: ComponentChildren
}

export function Table<T> ({ caption, columns, rows, id, empty }: Rows<T>) {
  if (rows.length === 0) return <p class="empty">{empty}</p>
  const style = (column: Column<T>) => column.isNumber ? 'number' : column.isActions ? 'actions' : undefined
  return (
    <table role="table">
      <caption class="unseen">{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map(column => (
            <th role="columnheader" scope="col" class={style(column)} key={column.name}>
              <span class={column.isActions ? 'unseen' : undefined}>{column.name}</span>
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map(row => (
          <tr role="row" key={id(row)}>
            {columns.map((column, at) => (
              <td
                role={at === 0 ? 'rowheader' : 'cell'}
                class={style(column)}
                data-label={column.isActions ? undefined : column.name}
                key={column.name}
              >
                <div>{column.cell(row)}</div>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  )
}
