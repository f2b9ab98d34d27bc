// Files on their way into the page. The worker asks for an element, lets the browser put a file of its disk into it, and
// names it in the call that needs it: so no byte of it crosses the debugging pipe.

import { Failure } from './errors';

/** Files that were put in and not taken out: a call that failed before it came to its file. */
const KEPT = 8;

export class Files {
  #inputs = new Map<string, HTMLInputElement>();

  /** An element for one file, which never becomes a part of the document. */
  intake(name: string): HTMLInputElement {
    const input = document.createElement('input');
    input.type = 'file';
    for (const oldest of [...this.#inputs.keys()].slice(0, -(KEPT - 1))) this.#inputs.delete(oldest);
    this.#inputs.set(name, input);
    return input;
  }

  /** The file of that name, under the name and type that others shall see. */
  take(name: string, filename: string, type: string): File {
    const file = this.#inputs.get(name)?.files?.[0];
    this.#inputs.delete(name);
    if (file === undefined) throw new Failure('no_file', 'no file was put into the page under this name');
    // Still the file on the disk: nothing is read here.
    return new File([file], filename, { type, lastModified: file.lastModified });
  }
}
