// Pictures of groups, in the two sizes that WhatsApp takes.

import { Failure } from './errors';
import { answered } from './groups';
import type { Library } from './library';
import type { ChatModel } from './store';

/** Pixels of the edges of the small and of the large one. */
const SMALL = 96;
const LARGE = 640;

/** WhatsApp takes JPEGs. */
const FORMAT = { type: 'image/jpeg', quality: 0.9 };

/** Gives a group this picture; null takes it away. */
export async function changePicture({ whatsapp }: Library, chat: ChatModel, picture: File | null): Promise<void> {
  await whatsapp.GroupMetadataStore.find(chat.id);
  // Who may change its name may change its picture.
  if (chat.groupMetadata?.canSetSubject() !== true) {
    throw new Failure('not_allowed', 'only administrators can change the picture of the group');
  }
  const { sendSetPicture, requestDeletePicture } = whatsapp.functions;
  if (picture === null) return done(await answered(requestDeletePicture(chat.id)));
  const [small, large] = await sizes(picture);
  done(await answered(sendSetPicture(chat.id, small, large)));
}

function done(answer: unknown): void {
  const { status } = (answer ?? {}) as { status?: unknown };
  if (status !== 200) throw new Failure('not_done', `the picture was answered with ${String(status)}`);
}

async function sizes(picture: File): Promise<[small: string, large: string]> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(picture);
  } catch {
    throw new Failure('unreadable_media', 'the file is no picture that the browser can read');
  }
  try {
    return [await square(bitmap, SMALL), await square(bitmap, LARGE)];
  } finally {
    bitmap.close();
  }
}

/** The middle of a picture as a square with an edge of so many pixels, as a `data:` URL. */
async function square(bitmap: ImageBitmap, edge: number): Promise<string> {
  const canvas = new OffscreenCanvas(edge, edge);
  const context = canvas.getContext('2d');
  if (context === null) throw new Failure('incompatible', 'the browser cannot draw');
  const side = Math.min(bitmap.width, bitmap.height);
  const [left, top] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
  // What was transparent would be black in a JPEG.
  context.fillStyle = '#fff';
  context.fillRect(0, 0, edge, edge);
  context.drawImage(bitmap, left, top, side, side, 0, 0, edge, edge);
  const blob = await canvas.convertToBlob(FORMAT);
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Failure('not_done', 'the drawn picture cannot be read'));
    reader.readAsDataURL(blob);
  });
}
