// Errors by value. WhatsApp throws errors with a name and no code, wa-js errors with a code whose
// name says nothing (its class names are minified), and some places throw plain objects.

import type { CallError } from './protocol';

/** An error of our own, with a code that the worker switches on. */
export class Failure extends Error {
  constructor(
    readonly code: string,
    message: string,
    name = 'Failure',
  ) {
    super(message);
    this.name = name;
  }
}

/** Longer texts are cut: an error message is for a log line. */
const MAX_MESSAGE = 500;

/** Numbers of people do not belong into a log line. */
export function withoutNumbers(message: string): string {
  return message.replace(/\d{5,}/g, '…');
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

export function describe(error: unknown): CallError {
  if (error === null || typeof error !== 'object') {
    return { name: 'Error', code: null, message: withoutNumbers(String(error)).slice(0, MAX_MESSAGE) };
  }
  const { name, code, message } = error as Record<string, unknown>;
  return {
    name: text(name) ?? 'Error',
    code: text(code),
    message: withoutNumbers(text(message) ?? text(code) ?? text(name) ?? 'unknown').slice(0, MAX_MESSAGE),
  };
}

export function isDuplicate(error: unknown): boolean {
  return describe(error).name === 'DuplicateMessageError';
}

/** Waits for `work`, at most `ms`; some promises of the page never settle. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Failure('timeout', `no answer within ${ms} ms`, 'Timeout')), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
