// Media: files that go out with a message, and files that came with one.

import type { Fixed, Prepared } from './content';
import { Failure } from './errors';
import type { Files } from './files';
import type { Library } from './library';
import type { MediaContent } from './protocol';
import { messageBy, type ChatModel } from './store';

type Options = Parameters<Library['chat']['sendFileMessage']>[2];

/** wa-js makes the rest: the thumbnail, the waveform, the upload. */
export async function prepareMedia(
  library: Library,
  chat: ChatModel,
  content: MediaContent,
  files: Files,
): Promise<Prepared> {
  const file = files.take(content.file, content.filename, content.mime);
  if (content.as === 'image' || content.as === 'sticker') await look(file);
  const caption = content.caption === null ? {} : { caption: content.caption };
  return (fixed: Fixed) =>
    library.chat.sendFileMessage(chat.id, file, { ...fixed, ...caption, ...kindOf(content) } as unknown as Options);
}

/** What cannot be shown fails here, where it is certain that nothing was sent. */
async function look(picture: File): Promise<void> {
  try {
    (await createImageBitmap(picture)).close();
  } catch {
    throw new Failure('unreadable_media', 'the file is no picture that the browser can read');
  }
}

function kindOf({ as, mime }: MediaContent): Partial<Record<string, unknown>> {
  switch (as) {
    case 'image':
    case 'video':
    case 'document':
    case 'sticker':
      return { type: as };
    case 'video_note':
      return { type: 'video', isPtv: true };
    case 'audio':
      return { type: 'audio' };
    case 'voice':
      return { type: 'audio', isPtt: true, mimetype: mime };
  }
}

/** The file of a message, from the page's cache or from WhatsApp. */
export async function fileOf(library: Library, key: string): Promise<Blob> {
  await messageBy(library, key);
  try {
    return await library.chat.downloadMedia(key);
  } catch (error) {
    // wa-js throws plain objects here, and WhatsApp's own errors say little.
    const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
    const why = typeof message === 'string' ? message : String(error);
    throw new Failure(typeof code === 'string' ? code : 'media_not_found', why);
  }
}
