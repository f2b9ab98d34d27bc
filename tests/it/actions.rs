//! What a session does besides sending, and what it tells of what others do besides writing.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use wafleet_imitation::{Departure, Options, Phone, SendFault, Written};
use wafleet_protocol::command::{
    Action, Archive, AskGroup, Block, Check, Command, Content, Delete, Edit, History, ListChats, ListContacts,
    ListGroups, MessageSend, Mute, PinChat, PinMessage, PinTime, Poll, React, Recording, RejectCall, Seen, SetPresence,
    Star, Typing,
};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{ContactChecked, Event, Message, Outcome, PresenceState, ResultData};
use wafleet_protocol::id::MessageKey;
use wafleet_tests::fleet::{Host, PATIENCE, Target, Worker, failure};
use wafleet_tests::stage::{Stage, text};
use wafleet_tests::wait;

pub(crate) const ANNA: &str = "4915112345678";
pub(crate) const BERT: &str = "4915187654321";
pub(crate) const CARLA: &str = "4915155555555";
pub(crate) const NOBODY: &str = "4915100000000";

pub(crate) async fn linked(target: &Target) -> Result<(Stage, Worker, Phone)> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    stage.site.nobody(NOBODY);
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    stage.link(target, &anna).await?;
    Ok((stage, worker, anna))
}

/// Asks for something and expects it to be done.
pub(crate) async fn done(host: &Host, target: &Target, action: Action) -> Result<Option<ResultData>> {
    let command = Command::Action(action);
    let result = host.ask(target, &command).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{command:?}: {result:?}");
    Ok(result.data)
}

/// Asks for something and expects it to be refused.
pub(crate) async fn refused(host: &Host, target: &Target, action: Action) -> Result<ErrorCode> {
    failure(&host.ask(target, &Command::Action(action)).await?)
}

/// Waits for an event of this session that `wanted` takes.
pub(crate) async fn told<T>(host: &Host, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> Result<T> {
    host.events().wait_from(0, what, PATIENCE, |envelope| wanted(&envelope.event)).await
}

pub(crate) async fn received(host: &Host, id: &str) -> Result<Message> {
    let find = |event: &Event| match event {
        Event::MessageReceived(message) if message.id == id => Some(message.clone()),
        _ => None,
    };
    told(host, &format!("message {id}"), find).await
}

/// Sends a message and answers with its key and id.
pub(crate) async fn sent(stage: &Stage, target: &Target, command: &Command) -> Result<(MessageKey, String)> {
    let result = stage.host.ask(target, command).await?;
    let Some(ResultData::Message(message)) = result.data else { bail!("{result:?}") };
    Ok((message.key.as_str().parse()?, message.id))
}

/// What left of this kind about the message of this id.
fn about(stage: &Stage, kind: &str, id: &str) -> Vec<Departure> {
    let is_about = |departure: &Departure| departure.kind == kind && departure.content["target"]["id"] == id;
    stage.site.sent().into_iter().filter(is_about).collect()
}

/// The last value that a setting has, and how often it was set.
pub(crate) fn setting(stage: &Stage, name: &str) -> (Option<Value>, usize) {
    let of: Vec<_> = stage.site.settings().into_iter().filter(|setting| setting.setting == name).collect();
    (of.last().map(|setting| setting.value.clone()), of.len())
}

#[tokio::test]
async fn messages_are_reacted_to_edited_taken_back_and_marked() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, anna) = linked(&target).await?;
    let host = &stage.host;
    let theirs = anna.receive_text(BERT, "Bert", "hello");
    let message: MessageKey = received(host, &theirs).await?.key.as_str().parse()?;

    for emoji in [Some("👍"), None] {
        let emoji = emoji.map(TryInto::try_into).transpose()?;
        done(host, &target, Action::React(React { message: message.clone(), emoji })).await?;
    }
    let left = about(&stage, "reaction", &theirs);
    let emojis: Vec<_> = left.iter().map(|departure| departure.content["reactionText"].clone()).collect();
    ensure!(emojis == [json!("👍"), json!("")], "{left:?}");

    let (own, own_id) = sent(&stage, &target, &text(BERT, "helo")?).await?;
    for _ in 0..2 {
        let edit = Edit { message: own.clone(), text: "hello".try_into()? };
        done(host, &target, Action::Edit(edit)).await?;
    }
    let left = about(&stage, "protocol", &own_id);
    ensure!(left.len() == 1 && left[0].text == "hello", "the second changes nothing: {left:?}");
    let find = |event: &Event| match event {
        Event::MessageEdited(edited) if edited.message.id == own_id => Some(edited.clone()),
        _ => None,
    };
    let edited = told(host, "the new wording", find).await?;
    ensure!(edited.message.text.as_ref().map(|text| text.as_str()) == Some("hello"), "{edited:?}");
    ensure!(edited.edited_at.is_some() && edited.message.key.as_str() == own.as_str(), "{edited:?}");

    for star in [true, true, false] {
        done(host, &target, Action::Star(Star { message: message.clone(), star })).await?;
    }
    ensure!(setting(&stage, "star") == (Some(json!(false)), 2), "{:?}", stage.site.settings());

    for pin in [true, true, false, false] {
        let pin = PinMessage { message: own.clone(), pin, duration: PinTime::Day };
        done(host, &target, Action::PinMessage(pin)).await?;
    }
    let left = about(&stage, "pin_in_chat", &own_id);
    let pins: Vec<_> = left.iter().map(|departure| departure.content["pinType"].clone()).collect();
    ensure!(pins == [json!(1), json!(2)] && left[0].content["duration"] == "OneDay", "{left:?}");

    for _ in 0..2 {
        done(host, &target, Action::Delete(Delete { message: own.clone() })).await?;
    }
    let left = about(&stage, "protocol", &own_id);
    ensure!(left.len() == 2 && left[1].content["subtype"] == "sender_revoke", "{left:?}");
    let find = |event: &Event| match event {
        Event::MessageRevoked(revoked) if revoked.id == own_id => Some(revoked.from_me),
        _ => None,
    };
    ensure!(told(host, "the end of the message", find).await?);

    // What cannot be done is refused, with the reason.
    let missing: MessageKey = "false_987654321098765@lid_3A00000000000000000000".parse()?;
    let edit = Edit { message: own, text: "too late".try_into()? };
    for (action, code) in [
        (Action::React(React { message: missing, emoji: None }), ErrorCode::MessageNotFound),
        (Action::Delete(Delete { message }), ErrorCode::NotAllowed),
        (Action::Edit(edit), ErrorCode::NotAllowed),
    ] {
        ensure!(refused(host, &target, action.clone()).await? == code, "{action:?}");
    }
    Ok(())
}

#[tokio::test]
async fn chats_contacts_and_presence_are_set() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, anna) = linked(&target).await?;
    let host = &stage.host;
    let id = anna.receive_text(BERT, "Bert", "hello");
    let chat: wafleet_protocol::id::ChatId = received(host, &id).await?.chat_id.as_str().parse()?;
    let by_phone: wafleet_protocol::id::ChatId = BERT.parse()?;

    done(host, &target, Action::Typing(Typing { chat: chat.clone(), typing: true })).await?;
    done(host, &target, Action::Recording(Recording { chat: by_phone.clone(), recording: true })).await?;
    done(host, &target, Action::Typing(Typing { chat: chat.clone(), typing: false })).await?;
    let shown = async || {
        let shown: Vec<_> = stage.site.chatstates().into_iter().map(|shown| shown.state).collect();
        Ok((shown == ["composing", "recording", "paused"]).then_some(()))
    };
    wait::until("what the account does is shown", PATIENCE, shown).await?;

    for _ in 0..2 {
        done(host, &target, Action::Archive(Archive { chat: chat.clone(), archive: true })).await?;
        done(host, &target, Action::PinChat(PinChat { chat: by_phone.clone(), pin: true })).await?;
        done(host, &target, Action::Mute(Mute { chat: chat.clone(), mute: true, until: None })).await?;
        done(host, &target, Action::Seen(Seen { chat: chat.clone() })).await?;
    }
    ensure!(setting(&stage, "archive") == (Some(json!(true)), 1), "{:?}", stage.site.settings());
    ensure!(setting(&stage, "pin") == (Some(json!(true)), 1), "{:?}", stage.site.settings());
    ensure!(setting(&stage, "mute").0 == Some(json!(-1)), "{:?}", stage.site.settings());
    done(host, &target, Action::Mute(Mute { chat, mute: false, until: None })).await?;
    ensure!(setting(&stage, "mute").0 == Some(json!(0)), "{:?}", stage.site.settings());

    done(host, &target, Action::SetPresence(SetPresence { available: true })).await?;
    let shown = async || Ok((setting(&stage, "available").0 == Some(json!(true))).then_some(()));
    wait::until("the account is shown as online", PATIENCE, shown).await?;

    // By number and by the other id, and nobody.
    let lid = stage.site.phone(BERT, "Bert").number().lid().to_string();
    for contact in [BERT, &lid] {
        let data = done(host, &target, Action::Check(Check { contact: contact.parse()?, max_age: 0 })).await?;
        let Some(ResultData::Contact(found)) = data else { bail!("{data:?}") };
        ensure!(found.on_whatsapp, "{found:?}");
        ensure!(found.phone.as_ref().map(|phone| phone.as_str()) == Some(BERT), "{contact}: {found:?}");
        ensure!(found.lid.as_ref().map(|lid| lid.as_str()) == Some(lid.as_str()), "{contact}: {found:?}");
    }
    let data = done(host, &target, Action::Check(Check { contact: NOBODY.parse()?, max_age: 0 })).await?;
    ensure!(matches!(data, Some(ResultData::Contact(found)) if !found.on_whatsapp && found.lid.is_none()), "somebody");

    for block in [true, false] {
        done(host, &target, Action::Block(Block { contact: BERT.parse()?, block })).await?;
        ensure!(setting(&stage, "block").0 == Some(json!(block)), "{:?}", stage.site.settings());
    }
    let unknown = Action::Seen(Seen { chat: "120363000000000000@g.us".parse()? });
    ensure!(refused(host, &target, unknown).await? == ErrorCode::ChatNotFound);
    Ok(())
}

#[tokio::test]
async fn what_others_do_besides_writing_is_told() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, anna) = linked(&target).await?;
    let host = &stage.host;
    let bert = stage.site.phone(BERT, "Bert");
    let options = ["today", "tomorrow"].map(|text| text.try_into().expect("a line")).to_vec();
    let poll = Poll { question: "When?".try_into()?, options, multiple: true };
    let ask = Command::MessageSend(MessageSend::new(BERT.parse()?, Content::Poll(poll)));
    let (poll, poll_id) = sent(&stage, &target, &ask).await?;
    let first = anna.receive_text(BERT, "Bert", "helo");
    let known = received(host, &first).await?;

    anna.receive(BERT, "Bert", &Written::reaction(&poll_id, anna.number(), "🎉"));
    let reaction = told(host, "the reaction", |event| match event {
        Event::MessageReaction(reaction) => Some(reaction.clone()),
        _ => None,
    })
    .await?;
    ensure!(reaction.key.as_str() == poll.as_str() && !reaction.from_me, "{reaction:?}");
    ensure!(reaction.emoji.as_ref().map(|emoji| emoji.as_str()) == Some("🎉"), "{reaction:?}");
    ensure!(reaction.sender.phone.as_ref().map(|phone| phone.as_str()) == Some(BERT), "{reaction:?}");

    anna.receive(BERT, "Bert", &Written::vote(&poll_id, anna.number(), &[1]));
    let vote = told(host, "the vote", |event| match event {
        Event::PollVote(vote) => Some(vote.clone()),
        _ => None,
    })
    .await?;
    let chosen: Vec<_> = vote.options.iter().map(|option| option.as_str()).collect();
    ensure!(chosen == ["tomorrow"] && vote.key.as_str() == poll.as_str() && vote.sender == reaction.sender, "{vote:?}");

    anna.receive(BERT, "Bert", &Written::edit(&first, bert.number(), "hello"));
    let edited = told(host, "the new wording", |event| match event {
        Event::MessageEdited(edited) => Some(edited.clone()),
        _ => None,
    })
    .await?;
    ensure!(edited.message.key == known.key && edited.message.sender == known.sender, "{edited:?}");
    ensure!(edited.message.text.as_ref().map(|text| text.as_str()) == Some("hello"), "{edited:?}");

    anna.receive(BERT, "Bert", &Written::revocation(&first, bert.number()));
    let revoked = told(host, "the end of a message", |event| match event {
        Event::MessageRevoked(revoked) => Some(revoked.clone()),
        _ => None,
    })
    .await?;
    ensure!(revoked.key == known.key && revoked.chat_id == known.chat_id && !revoked.from_me, "{revoked:?}");

    // What cannot be read yet is told as such, and under the same key when it can.
    let unread = anna.receive(BERT, "Bert", &Written::new("ciphertext", "", Value::Null));
    let waiting = told(host, "the waiting message", |event| match event {
        Event::MessageWaiting(waiting) if waiting.id == unread => Some(waiting.clone()),
        _ => None,
    })
    .await?;
    anna.receive(BERT, "Bert", &Written::text("now you can").under(&unread));
    let read = received(host, &unread).await?;
    ensure!(read.key == waiting.key && read.sender == waiting.sender, "{read:?}");
    ensure!(read.text.as_ref().map(|text| text.as_str()) == Some("now you can"), "{read:?}");

    anna.see(BERT, "composing");
    let typing = told(host, "the typing", |event| match event {
        Event::PresenceUpdate(presence) if presence.state == PresenceState::Typing => Some(presence.clone()),
        _ => None,
    })
    .await?;
    ensure!(typing.chat_id == known.chat_id && typing.participant.is_none(), "{typing:?}");

    anna.ring(BERT, "C0FFEE", true);
    let call = told(host, "the call", |event| match event {
        Event::CallReceived(call) => Some(call.clone()),
        _ => None,
    })
    .await?;
    ensure!(call.id == "C0FFEE" && call.video && !call.group && call.sender.id == known.sender.id, "{call:?}");
    ensure!(call.timestamp.unix_secs().abs_diff(wafleet_tests::fleet::unix_now()) < Duration::from_secs(600).as_secs());
    for _ in 0..2 {
        done(host, &target, Action::RejectCall(RejectCall { call: "C0FFEE".try_into()? })).await?;
    }
    ensure!(setting(&stage, "reject_call") == (Some(json!(true)), 1), "{:?}", stage.site.settings());
    let over = Action::RejectCall(RejectCall { call: "BADCAFE".try_into()? });
    ensure!(refused(host, &target, over).await? == ErrorCode::NotAllowed);

    let mapping = told(host, "both ids of Bert", |event| match event {
        Event::ContactMapping(mapping) if mapping.phone.as_str() == BERT => Some(mapping.clone()),
        _ => None,
    })
    .await?;
    ensure!(Some(&mapping.lid) == known.sender.lid.as_ref(), "{mapping:?}");
    host.events().check_order()
}

#[tokio::test]
async fn messages_of_every_kind_come_in_with_what_they_hold() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, anna) = linked(&target).await?;
    let host = &stage.host;
    let (_, asked) = sent(&stage, &target, &text(BERT, "Where?")?).await?;
    let own_lid = anna.number().lid().to_string();
    let arrive = async |message: Written| received(host, &anna.receive(BERT, "Bert", &message)).await;

    let quoted = json!({ "type": "chat", "body": "Where?" });
    let message = arrive(Written::new(
        "location",
        "",
        json!({
            "lat": 52.5, "lng": -13.25, "loc": "Reichstag\nPlatz 1", "quotedStanzaID": asked, "quotedMsg": quoted,
            "quotedParticipant": own_lid,
        }),
    ))
    .await?;
    let place = message.location.as_ref().context("a place")?;
    ensure!((place.latitude, place.longitude) == (52.5, -13.25) && message.text.is_none(), "{message:?}");
    ensure!(place.address.as_ref().map(|address| address.as_str()) == Some("Platz 1"), "another address");
    let answered = message.quoted.as_ref().context("what it answers")?;
    ensure!(answered.id == asked && message.quoted_id.as_deref() == Some(asked.as_str()), "{message:?}");
    ensure!(answered.text.as_ref().map(|text| text.as_str()) == Some("Where?"), "{message:?}");

    let message =
        arrive(Written::new("vcard", "BEGIN:VCARD\nEND:VCARD", json!({ "vcardFormattedName": "Carla" }))).await?;
    ensure!(message.contacts.len() == 1 && message.text.is_none(), "{message:?}");
    ensure!(message.contacts[0].name.as_ref().map(|name| name.as_str()) == Some("Carla"), "{message:?}");

    let poll = json!({ "pollName": "When?", "pollOptions": [{ "name": "now", "localId": 0 }, { "name": "later", "localId": 1 }],
        "pollSelectableOptionsCount": 1 });
    let message = arrive(Written::new("poll_creation", "", poll)).await?;
    let question = message.poll.as_ref().context("a question")?;
    ensure!(question.question.as_str() == "When?" && question.options.len() == 2 && !question.multiple, "{message:?}");

    let document = json!({ "caption": "read this", "mimetype": "application/pdf", "size": 4821, "filename": "a.pdf",
        "directPath": "/v/t62", "mediaKey": "a2V5", "isForwarded": true, "forwardingScore": 3 });
    let message = arrive(Written::new("document", "", document)).await?;
    let medium = message.media.as_ref().context("a medium")?;
    ensure!(message.has_media && medium.size == Some(4821), "{message:?}");
    ensure!(medium.mimetype.as_deref() == Some("application/pdf") && message.forwarded == Some(3), "{message:?}");
    ensure!(message.text.as_ref().map(|text| text.as_str()) == Some("read this"), "the caption is lost: {message:?}");

    let mention = json!({ "mentionedJidList": [own_lid] });
    let message = arrive(Written::new("chat", "hello @you", mention)).await?;
    ensure!(message.mentions.len() == 1 && message.mentions[0].as_str() == own_lid, "{message:?}");
    ensure!(message.location.is_none() && message.forwarded.is_none() && message.quoted.is_none(), "{message:?}");
    Ok(())
}

#[tokio::test]
async fn chats_messages_people_and_groups_are_listed_a_page_at_a_time() -> Result<()> {
    let target = Target::new("s1")?;
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    let bert = stage.site.phone(BERT, "Bert");
    anna.save_contact(BERT, "Bert from work");
    anna.save_contact(CARLA, "Carla");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    let host = &stage.host;
    let (_, own_id) = sent(&stage, &target, &text(CARLA, "hello Carla")?).await?;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(anna.receive_text(BERT, "Bert", &format!("message {n}")));
    }
    let last = received(host, ids.last().context("five")?).await?;
    let group = bert.create_group("The club", [ANNA, CARLA]);
    received(host, &bert.send_text(wafleet_imitation::Address::Group(group.clone()), "hello all")).await?;

    // All chats, one at a time.
    let (mut chats, mut cursor) = (Vec::new(), None);
    loop {
        let asked = ListChats { limit: 1, cursor, unread: false, archived: None };
        let data = done(host, &target, Action::ListChats(asked)).await?;
        let Some(ResultData::Chats(page)) = data else { bail!("{data:?}") };
        ensure!(page.chats.len() == 1, "{page:?}");
        chats.extend(page.chats);
        match page.cursor {
            Some(next) => cursor = Some(next.as_str().try_into()?),
            None => break,
        }
    }
    ensure!(chats.len() == 3, "{chats:?}");
    let of_bert = chats.iter().find(|chat| chat.chat_id == last.chat_id).context("the chat with Bert")?;
    ensure!(of_bert.unread == 5 && of_bert.timestamp.is_some(), "{of_bert:?}");
    ensure!(of_bert.phone.as_ref().map(|phone| phone.as_str()) == Some(BERT), "{of_bert:?}");
    let of_group = chats.iter().find(|chat| chat.chat_id.as_str() == group.to_string()).context("the group")?;
    ensure!(
        of_group.name.as_ref().map(|name| name.as_str()) == Some("The club") && of_group.phone.is_none(),
        "{chats:?}"
    );
    let asked = ListChats { limit: 100, cursor: None, unread: true, archived: Some(false) };
    let Some(ResultData::Chats(page)) = done(host, &target, Action::ListChats(asked)).await? else { bail!("no chats") };
    ensure!(page.chats.len() == 2 && page.cursor.is_none(), "Carla wrote nothing: {page:?}");

    // One chat, from the newest message back, two at a time.
    let (mut read, mut cursor) = (Vec::new(), None);
    loop {
        let asked = History { chat: BERT.parse()?, limit: 2, cursor };
        let data = done(host, &target, Action::History(asked)).await?;
        let Some(ResultData::History(page)) = data else { bail!("{data:?}") };
        read.splice(0..0, page.messages.iter().map(|past| past.message.id.clone()));
        match page.cursor {
            Some(next) => cursor = Some(next.as_str().try_into()?),
            None => break,
        }
    }
    ensure!(read == ids, "{read:?} {ids:?}");
    let asked = History { chat: CARLA.parse()?, limit: 10, cursor: None };
    let Some(ResultData::History(page)) = done(host, &target, Action::History(asked)).await? else { bail!("nothing") };
    ensure!(page.messages.len() == 1 && page.messages[0].from_me && page.messages[0].message.id == own_id, "{page:?}");

    let asked = ListContacts { limit: 100, cursor: None };
    let Some(ResultData::Contacts(page)) = done(host, &target, Action::ListContacts(asked)).await? else {
        bail!("nobody")
    };
    let mut names: Vec<_> =
        page.contacts.iter().filter_map(|person| person.name.as_ref()).map(|name| name.as_str()).collect();
    names.sort_unstable();
    ensure!(names == ["Bert from work", "Carla"], "each once: {page:?}");
    ensure!(page.contacts.iter().all(|person| person.phone.is_some() && person.lid.is_some()), "{page:?}");

    let asked = ListGroups { limit: 100, cursor: None };
    let Some(ResultData::Groups(page)) = done(host, &target, Action::ListGroups(asked)).await? else {
        bail!("no groups")
    };
    ensure!(page.groups.len() == 1 && page.groups[0].size == 3 && !page.groups[0].admin, "{page:?}");
    let asked = AskGroup { group: group.to_string().parse()? };
    let Some(ResultData::Group(info)) = done(host, &target, Action::GroupInfo(asked)).await? else { bail!("no group") };
    ensure!(info.group == page.groups[0] && info.participants.len() == 3, "{info:?}");
    let owner = info.participants.iter().find(|participant| participant.admin).context("an administrator")?;
    ensure!(owner.phone.as_ref().map(|phone| phone.as_str()) == Some(BERT), "{info:?}");
    ensure!(info.group.owner.as_ref() == Some(&owner.id), "{info:?}");
    Ok(())
}

#[tokio::test]
async fn whatsapp_is_asked_once_about_somebody_unless_the_answer_must_be_new() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, _anna) = linked(&target).await?;
    let host = &stage.host;
    let lid = stage.site.phone(CARLA, "Carla").number().lid().to_string();
    let check = async |contact: &str, max_age: u64| -> Result<ContactChecked> {
        let data = done(host, &target, Action::Check(Check { contact: contact.parse()?, max_age })).await?;
        let Some(ResultData::Contact(found)) = data else { bail!("{data:?}") };
        Ok(found)
    };
    let first = check(CARLA, Check::MAX_AGE).await?;
    ensure!(first.on_whatsapp && first.age == 0, "{first:?}");
    let mapping = told(host, "both ids of Carla", |event| match event {
        Event::ContactMapping(mapping) if mapping.lid.as_str() == lid => Some(mapping.clone()),
        _ => None,
    })
    .await?;
    ensure!(mapping.phone.as_str() == CARLA, "{mapping:?}");

    // She goes, and whoever is content with an older answer does not learn of it, by whichever id he asks.
    stage.site.nobody(CARLA);
    for contact in [CARLA, &format!("{CARLA}@c.us"), &lid] {
        let again = check(contact, Check::MAX_AGE).await?;
        ensure!(again.on_whatsapp && again.phone == first.phone && again.lid == first.lid, "{contact}: {again:?}");
        ensure!(again.age < 600, "{again:?}");
    }
    ensure!(!check(CARLA, 0).await?.on_whatsapp, "she is gone");
    ensure!(!check(CARLA, Check::MAX_AGE).await?.on_whatsapp, "that is remembered, too");
    Ok(())
}

#[tokio::test]
async fn a_message_that_whatsapp_does_not_acknowledge_is_told_as_stalled() -> Result<()> {
    let target = Target::new("s1")?;
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").env("WAFLEET_MESSAGE_STALLED_SECS", "1").spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    let host = &stage.host;
    let (_, fine) = sent(&stage, &target, &text(BERT, "hello")?).await?;
    stage.site.faults(|faults| faults.every_send = Some(SendFault::Swallow));
    let id = host.send(&target, &text(BERT, "are you there?")?).await?;
    let stalled = told(host, "the stalled message", |event| match event {
        Event::MessageStalled(stalled) => Some(stalled.clone()),
        _ => None,
    })
    .await?;
    ensure!(stalled.command_id.as_ref() == Some(&id) && stalled.id != fine, "{stalled:?}");
    let left = stage.site.sent().into_iter().find(|departure| departure.id == stalled.id);
    ensure!(left.context("it left")?.text == "are you there?");
    Ok(())
}
