// The quotas by name: one table for their form and for the charts beside them.

import type { Quotas } from './shapes'
import { bytes, count } from './ui/bits'

export interface QuotaName { key: keyof Quotas, label: string, unit: string, show: (amount: number) => string }

export const QUOTAS: QuotaName[] = [
  { key: 'publish_messages_per_second', label: 'Publishes', unit: 'messages a second', show: count },
  { key: 'publish_bytes_per_second', label: 'Published payload', unit: 'bytes a second', show: bytes },
  { key: 'delivery_messages_per_second', label: 'Deliveries', unit: 'messages a second', show: count },
  { key: 'delivery_bytes_per_second', label: 'Delivered payload', unit: 'bytes a second', show: bytes },
  { key: 'connections', label: 'Connections', unit: 'open at once', show: count },
  { key: 'subscriptions', label: 'Subscriptions', unit: 'open at once', show: count },
  { key: 'topics', label: 'Topics', unit: 'in all', show: count },
  { key: 'stored_bytes', label: 'Stored', unit: 'bytes', show: bytes },
  { key: 'payload_bytes', label: 'Largest payload', unit: 'bytes', show: bytes }
]
