// Labels: the marks by which a WhatsApp Business account sorts its chats.

import { Failure } from './errors';
import { user } from './ids';
import type { Library } from './library';
import type { Outbox } from './outbox';
import type { Label } from './protocol';
import { site } from './site';
import type { ChatModel } from './store';

interface Listened<T> {
  getModelsArray(): T[];
  on(name: string, listener: (model: T) => void): void;
}

/** One chat that has the label. */
interface Item {
  parentId: unknown;
  parentType?: unknown;
}

interface LabelModel {
  id: unknown;
  name?: unknown;
  hexColor?: unknown;
  labelItemCollection?: Listened<Item>;
}

interface LabelCollection extends Listened<LabelModel> {
  get(id: string): LabelModel | undefined;
  addOrRemoveLabels(changes: { id: string; type: 'add' | 'remove' }[], chats: ChatModel[]): Promise<unknown>;
}

/** WhatsApp's own: what wa-js 4.6.0 takes for it is its class. */
function collection(): LabelCollection {
  return site('WAWebLabelCollection').LabelCollection as LabelCollection;
}

function assertBusiness(library: Library): void {
  if (library.profile.isBusiness() !== true) {
    throw new Failure('is_not_business', 'labels are for accounts of WhatsApp Business');
  }
}

function labelOf({ id, name, hexColor }: LabelModel): Label {
  const color = typeof hexColor === 'string' && /^#[0-9a-f]{6}$/i.test(hexColor) ? hexColor.toLowerCase() : null;
  return { id: String(id), name: typeof name === 'string' ? name : '', color };
}

/** The labels of a chat, by their ids. */
export function labelsOf(chat: ChatModel): string[] {
  const { labels } = chat as unknown as { labels?: unknown };
  return Array.isArray(labels) ? labels.map(String) : [];
}

export function labels(library: Library): { labels: Label[] } {
  assertBusiness(library);
  return { labels: collection().getModelsArray().map(labelOf) };
}

/** Asks for it; the page shows it when the server has agreed. */
export async function labelChat(library: Library, chat: ChatModel, label: string, labelled: boolean): Promise<void> {
  assertBusiness(library);
  if (collection().get(label) === undefined) throw new Failure('label_not_found', 'there is no label of this id');
  if (labelsOf(chat).includes(label) === labelled) return;
  await collection().addOrRemoveLabels([{ id: label, type: labelled ? 'add' : 'remove' }], [chat]);
}

/** Tells what becomes of labels. What is there when the page comes to life is news to nobody. */
export function watchLabels(library: Library, outbox: Outbox): void {
  const guarded = (report: () => void) => {
    try {
      report();
    } catch (error) {
      outbox.fault('label', error);
    }
  };
  const isNews = () => library.conn.isMainReady() && library.profile.isBusiness() === true;
  const tell = (model: LabelModel, deleted: boolean) =>
    guarded(() => {
      if (isNews()) outbox.push({ type: 'label', ...labelOf(model), deleted });
    });
  const watchChatsOf = (model: LabelModel) => {
    const tellChat = ({ parentId, parentType }: Item, labelled: boolean) =>
      guarded(() => {
        if (parentType !== 'Chat' || !isNews()) return;
        const { id: label_id, name } = labelOf(model);
        outbox.push({ type: 'chat_label', chat_id: user(parentId), label_id, label: name === '' ? null : name, labelled });
      });
    model.labelItemCollection?.on('add', (item) => tellChat(item, true));
    model.labelItemCollection?.on('remove', (item) => tellChat(item, false));
  };
  guarded(() => {
    const labels = collection();
    labels.on('add', (model) => {
      watchChatsOf(model);
      tell(model, false);
    });
    for (const name of ['change:name', 'change:colorIndex']) labels.on(name, (model) => tell(model, false));
    labels.on('remove', (model) => tell(model, true));
    labels.getModelsArray().forEach(watchChatsOf);
  });
}
