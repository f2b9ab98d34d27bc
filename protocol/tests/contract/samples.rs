//! One value of every message, and of every shape a message has.

use std::collections::BTreeMap;

use wafleet_protocol::command::{
    Action, Archive, AskGroup, Block, Button, Buttons, Calls, CampaignControl, CampaignPart, Card, CardDetails,
    ChangeParticipants, Check, Choices, CloudWebhook, Command, Contacts, Content, CreateGroup, Degrees, Delete, Edit,
    Forward, GroupPicture, GroupSettings, History, InviteLink, LabelChat, LeaveGroup, ListChats, ListContacts,
    ListGroups, ListLabels, ListRow, ListSection, Location, Media, MessageSend, Mute, OptOut, ParticipantChange,
    PasskeyAssertion, PasskeyResponse, PinChat, PinMessage, PinTime, Poll, QuietHours, React, Recording, RejectCall,
    Route, Seen, SessionLimits, SessionLinkCode, SessionMove, SessionPasskeyAnswer, SessionProvider, SessionSettings,
    SessionStart, SessionSync, SetPresence, Star, StatusPost, Story, StoryText, Template, Text, Typing,
};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{
    AckName, Authoritative, Budget, CallReceived, CampaignProgress, CampaignState, Cause, ChatLabel, ChatPage,
    ChatSummary, CommandError, CommandResult, ContactChecked, ContactMapping, ContactPage, ContactSummary, Envelope,
    Event, GroupChange, GroupCreated, GroupInfo, GroupLink, GroupPage, GroupParticipants, GroupSetting, GroupSummary,
    GroupUpdate, Health, HealthParts, HistoryPage, Invitation, Label, LabelUpdate, Labels, MediaFailure, MediaOutcome,
    Medium, Message, MessageAck, MessageEdited, MessageMedia, MessageReaction, MessageRevoked, MessageSent,
    MessageSource, MessageStalled, MessageWaiting, Outcome, Participant, ParticipantChanged, ParticipantsChanged,
    PasskeyDescriptor, PasskeyRequest, PastMessage, Place, PollVote, PresenceState, PresenceUpdate, Question, Quoted,
    Restriction, ResultData, RuntimeIncompatible, Sender, SentMessage, SessionCode, SessionPasskey, SessionQr,
    SessionStatus, SessionStatusChanged, SyncChats, SyncGroups, SyncMessages, SyncProgress, SyncState, Used,
    VisitingCard,
};
use wafleet_protocol::id::{ChatId, CommandId, EventId, MessageId, MessageKey, SessionId, WorkspaceId};
use wafleet_protocol::metadata::Metadata;
use wafleet_protocol::provider::{Provider, ProviderChoice};
use wafleet_protocol::timestamp::Timestamp;

/// File name, command, metadata.
pub(crate) fn commands() -> Vec<(&'static str, Command, Option<Metadata>)> {
    let metadata = Metadata::parse(r#"{"campaign":17,"rate":1.0,"tags":["a","ü"],"empty":[]}"#).expect("an object");
    let send = |to: &str, text: &str, reference: Option<&str>| {
        Command::MessageSend(MessageSend {
            reference: reference.map(|reference| reference.try_into().expect("a reference")),
            ..MessageSend::text(to.parse().expect("a chat"), text.try_into().expect("a text"))
        })
    };
    let mut commands = vec![
        ("session.start", Command::SessionStart(SessionStart::default()), None),
        (
            "session.start-by-code",
            Command::SessionStart(SessionStart {
                pairing_phone: Some("4915112345678".parse().expect("a number")),
                ..SessionStart::default()
            }),
            Some(metadata.clone()),
        ),
        ("session.status", Command::SessionStatus, None),
        ("session.stop", Command::SessionStop, None),
        ("session.logout", Command::SessionLogout, None),
        (
            "session.link_code",
            Command::SessionLinkCode(SessionLinkCode { phone: "4915112345678".parse().expect("a number") }),
            None,
        ),
        ("session.move", Command::SessionMove(SessionMove { to: None }), None),
        (
            "session.move-to-worker",
            Command::SessionMove(SessionMove { to: Some("prod/wafleet-6d5f:1".parse().expect("a worker")) }),
            None,
        ),
        (
            "session.passkey_answer",
            Command::SessionPasskeyAnswer(SessionPasskeyAnswer {
                request_id: "mbq3x0k1-1".to_owned(),
                assertion: Some(PasskeyAssertion {
                    id: "cGFzc2tleS1vZi1Bbm5h".to_owned(),
                    raw_id: "cGFzc2tleS1vZi1Bbm5h".to_owned(),
                    type_: "public-key".to_owned(),
                    authenticator_attachment: Some("platform".to_owned()),
                    response: PasskeyResponse {
                        client_data_json: "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0".to_owned(),
                        authenticator_data: "SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2MFAAAAAA".to_owned(),
                        signature: "MEUCIQDx".to_owned(),
                        user_handle: None,
                    },
                    client_extension_results: None,
                }),
            }),
            None,
        ),
        (
            "session.passkey_answer-declined",
            Command::SessionPasskeyAnswer(SessionPasskeyAnswer {
                request_id: "mbq3x0k1-1".to_owned(),
                assertion: None,
            }),
            None,
        ),
        ("message.send", send("4915112345678", "Grüße 👋\nzweite Zeile", Some("order-4711")), Some(metadata)),
        ("message.send-to-lid", send("123456789012345@lid", "Hallo", None), None),
        (
            "message.send-by-cloud",
            Command::MessageSend(MessageSend {
                route: Route {
                    provider: Some(ProviderChoice::Cloud),
                    template: Some(Template {
                        name: "login_code".to_owned(),
                        language: "en_US".to_owned(),
                        components: vec![serde_json::json!({
                            "type": "body",
                            "parameters": [{ "type": "text", "text": "123456" }],
                        })],
                    }),
                },
                ..MessageSend::text(
                    "4915112345678".parse().expect("a chat"),
                    "Your code is 123456".try_into().expect("a text"),
                )
            }),
            None,
        ),
        ("session.provider", Command::SessionProvider(SessionProvider { provider: ProviderChoice::Cloud }), None),
        (
            "cloud.webhook",
            Command::CloudWebhook(CloudWebhook {
                body: serde_json::json!({
                    "object": "whatsapp_business_account",
                    "entry": [{ "id": "102290129340398", "changes": [{ "field": "messages", "value": {
                        "messaging_product": "whatsapp",
                        "metadata": { "display_phone_number": "15550783881", "phone_number_id": "106540352242922" },
                        "statuses": [{
                            "id": "wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI1RjQyNUE3NDYxNkQ1OTU1",
                            "status": "delivered",
                            "timestamp": "1795000000",
                            "recipient_id": "4915112345678",
                            "biz_opaque_callback_data": "01JD0Z8YQ4S7N3V5K9C2M6X1BR",
                        }],
                    } }] }],
                }),
            }),
            None,
        ),
        ("message.send-to-group", send("120363012345678901@g.us", "Hallo alle", None), None),
    ];
    commands.extend(contents());
    commands.extend(actions());
    commands.extend(limits());
    commands.extend(campaigns());
    let everything = SessionSync { chats: None, days: None, messages: 0, groups: false };
    commands.push(("session.sync", Command::SessionSync(SessionSync::default()), None));
    commands.push(("session.sync-everything", Command::SessionSync(everything), None));
    commands.extend(interactive().map(|(name, content)| {
        let to = "4915187654321".parse().expect("a chat");
        let reply_to = Some("wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI1RjQyNUE3NDYxNkQ1OTU1".parse().expect("a key"));
        (name, Command::MessageSend(MessageSend { reply_to, ..MessageSend::new(to, content) }), None)
    }));
    let ephemeral = GroupSettings {
        group: "120363012345678901@g.us".parse().expect("a group"),
        subject: None,
        description: None,
        announce: None,
        restrict: None,
        ephemeral: Some(604_800),
    };
    commands.push(("group.settings-ephemeral", Command::Action(Action::GroupSettings(ephemeral)), None));
    let picture = |remove: bool| GroupPicture {
        group: "120363012345678901@g.us".parse().expect("a group"),
        url: (!remove).then(|| "https://shop.example.com/logo.png".parse().expect("an address")),
        object: None,
        inline: None,
        remove: remove.then_some(true),
    };
    commands.push(("group.picture", Command::Action(Action::GroupPicture(picture(false))), None));
    commands.push(("group.picture-remove", Command::Action(Action::GroupPicture(picture(true))), None));
    let reject = || SessionStart { calls: Some(Calls::Reject), ..SessionStart::default() };
    commands.push(("session.start-rejecting-calls", Command::SessionStart(reject()), None));
    commands.push(("session.settings", Command::SessionSettings(SessionSettings { calls: Calls::Reject }), None));
    commands.extend(stories());
    commands
}

/// `status.post` with every kind of story.
fn stories() -> [(&'static str, Command, Option<Metadata>); 2] {
    let text = StoryText {
        text: "Heute bis 20 Uhr geöffnet".try_into().expect("a text"),
        background: Some("#0a7cff".to_owned().try_into().expect("a color")),
    };
    let picture = Media::at("https://example.com/angebot.jpg".parse().expect("an address"));
    let post = |story, reference| Command::StatusPost(StatusPost { story, reference });
    [
        ("status.post", post(Story::Text(text), Some("opening".try_into().expect("a reference"))), None),
        ("status.post-image", post(Story::Image(picture), None), None),
    ]
}

/// About campaigns, and their messages.
fn campaigns() -> [(&'static str, Command, Option<Metadata>); 8] {
    [
        ("campaign.pause", Command::CampaignPause(control()), None),
        ("campaign.resume", Command::CampaignResume(control()), None),
        ("campaign.cancel", Command::CampaignCancel(control()), None),
        ("campaign.status", Command::CampaignStatus(control()), None),
        ("optout.add", Command::OptOutAdd(phones()), None),
        ("optout.remove", Command::OptOutRemove(phones()), None),
        ("message.send-campaign", campaign_message(None), None),
        (
            "message.send-campaign-quiet",
            campaign_message(Some(QuietHours {
                from: "21:00".to_owned().try_into().expect("a time"),
                to: "08:30".to_owned().try_into().expect("a time"),
                zone: Some("Europe/Berlin".to_owned()),
            })),
            None,
        ),
    ]
}

/// Limits of a session's own: none, and one of each.
fn limits() -> [(&'static str, Command, Option<Metadata>); 2] {
    [
        ("session.limits", Command::SessionLimits(SessionLimits::default()), None),
        (
            "session.limits-own",
            Command::SessionLimits(SessionLimits {
                per_minute: Some(10),
                per_hour: Some(200),
                per_day: Some(1000),
                urgent_reserve_percent: Some(50),
                cold_per_day: Some(0),
                checks_per_hour: Some(20),
                contact_per_minute: Some(6),
                warm_up_days: Some(0),
                weight: Some(50),
                typing_chars_per_second: Some(10),
            }),
            None,
        ),
    ]
}

/// Everything that is asked of a session besides sending.
fn actions() -> Vec<(&'static str, Command, Option<Metadata>)> {
    let key: MessageKey = "true_987654321098765@lid_3EB009448147C432ACD440".parse().expect("a key");
    let chat: ChatId = "987654321098765@lid".parse().expect("a chat");
    let until = Some(at(1_795_086_400_000));
    let cursor = Some("98204999899 987654321098765@lid".try_into().expect("a line"));
    let group: ChatId = "120363012345678901@g.us".parse().expect("a group");
    let key_cursor = Some("false_987654321098765@lid_3A0123456789ABCDEF01".try_into().expect("a line"));
    let named = [
        ("message.react", Action::React(React { message: key.clone(), emoji: Some("👍".try_into().expect("a line")) })),
        ("message.react-back", Action::React(React { message: key.clone(), emoji: None })),
        ("message.edit", Action::Edit(Edit { message: key.clone(), text: "Hallo Anna".try_into().expect("a text") })),
        ("message.delete", Action::Delete(Delete { message: key.clone() })),
        ("message.star", Action::Star(Star { message: key, star: true })),
        ("chat.typing", Action::Typing(Typing { chat: chat.clone(), typing: true })),
        ("chat.recording", Action::Recording(Recording { chat: chat.clone(), recording: false })),
        ("chat.seen", Action::Seen(Seen { chat: chat.clone() })),
        ("chat.archive", Action::Archive(Archive { chat: chat.clone(), archive: true })),
        ("chat.mute", Action::Mute(Mute { chat: chat.clone(), mute: true, until })),
        ("chat.mute-off", Action::Mute(Mute { chat: chat.clone(), mute: false, until: None })),
        ("chat.pin", Action::PinChat(PinChat { chat: chat.clone(), pin: true })),
        ("presence.set", Action::SetPresence(SetPresence { available: true })),
        ("contact.check", Action::Check(Check { contact: "4915187654321".parse().expect("a person"), max_age: 3600 })),
        ("contact.block", Action::Block(Block { contact: chat.clone(), block: true })),
        ("chat.list", Action::ListChats(ListChats { limit: 50, cursor: None, unread: false, archived: None })),
        (
            "chat.list-next",
            Action::ListChats(ListChats { limit: 10, cursor: cursor.clone(), unread: true, archived: Some(false) }),
        ),
        ("chat.history", Action::History(History { chat: chat.clone(), limit: 100, cursor: key_cursor })),
        ("contact.list", Action::ListContacts(ListContacts { limit: 50, cursor: cursor.clone() })),
        ("group.list", Action::ListGroups(ListGroups { limit: 50, cursor })),
        ("group.info", Action::GroupInfo(AskGroup { group: group.clone() })),
        (
            "group.participants",
            Action::ChangeParticipants(ChangeParticipants {
                group: group.clone(),
                change: ParticipantChange::Add,
                participants: ["4915187654321", "987654321098765@lid"].map(|id| id.parse().expect("a person")).to_vec(),
            }),
        ),
        (
            "group.settings",
            Action::GroupSettings(GroupSettings {
                group: group.clone(),
                subject: Some("Anna und Bernd".try_into().expect("a line")),
                description: None,
                announce: Some(true),
                restrict: None,
                ephemeral: None,
            }),
        ),
        ("group.leave", Action::LeaveGroup(LeaveGroup { group: group.clone() })),
        (
            "group.create",
            Action::CreateGroup(CreateGroup {
                subject: "Der Club".try_into().expect("a line"),
                participants: ["4915187654321", "987654321098765@lid"].map(|id| id.parse().expect("a person")).to_vec(),
            }),
        ),
        ("group.invite", Action::GroupInvite(InviteLink { group, revoke: true })),
        (
            "message.pin",
            Action::PinMessage(PinMessage {
                message: "true_987654321098765@lid_3EB009448147C432ACD440".parse().expect("a key"),
                pin: true,
                duration: PinTime::Day,
            }),
        ),
        ("call.reject", Action::RejectCall(RejectCall { call: "AC5B6D7E8F".try_into().expect("a line") })),
        ("label.list", Action::ListLabels(ListLabels {})),
        ("chat.label", Action::LabelChat(LabelChat { chat, label: "7".try_into().expect("a line"), labelled: true })),
    ];
    named.into_iter().map(|(name, action)| (name, Command::Action(action), None)).collect()
}

/// `message.send` with every kind of content.
fn contents() -> Vec<(&'static str, Command, Option<Metadata>)> {
    let send = |content: Content| MessageSend::new("4915187654321".parse().expect("a chat"), content);
    let line = |text: &str| text.try_into().expect("a line");
    let key: MessageKey = "false_987654321098765@lid_3A0123456789ABCDEF01".parse().expect("a key");
    let degrees = |number| Degrees::within(number, 180.0).expect("an angle");
    let text = "Hallo @4915187654321 und @987654321098765: https://example.com/".try_into().expect("a text");
    let mention = Content::Text(Text {
        mentions: ["4915187654321", "987654321098765@lid"].map(|id| id.parse().expect("a person")).to_vec(),
        link_preview: true,
        ..Text::plain(text)
    });
    let place = Location {
        latitude: degrees(52.518611),
        longitude: degrees(13.376111),
        name: Some("Reichstag".try_into().expect("a line")),
        address: Some("Platz der Republik 1, Berlin".try_into().expect("a line")),
        url: Some("https://example.com/reichstag".try_into().expect("a line")),
    };
    let bare = Location { latitude: degrees(-33.0), longitude: degrees(0.5), name: None, address: None, url: None };
    let vcard = "BEGIN:VCARD\nVERSION:3.0\nFN:Bernd\nEND:VCARD".try_into().expect("a text");
    let cards = vec![
        Card { name: line("Anna"), details: CardDetails::Phone("4915112345678".parse().expect("a number")) },
        Card { name: line("Bernd"), details: CardDetails::Vcard(vcard) },
    ];
    let poll = Poll {
        question: "Wann kommt ihr?".try_into().expect("a line"),
        options: ["heute", "morgen"].map(|text| text.try_into().expect("a line")).to_vec(),
        multiple: true,
    };
    let forward = Content::Forward(Forward { message: key.clone() });
    let reply =
        MessageSend { reply_to: Some(key), ..send(Content::Text(Text::plain("Hallo".try_into().expect("a text")))) };
    let named = [
        ("message.send-mentions", send(mention)),
        ("message.send-location", send(Content::Location(place))),
        ("message.send-location-bare", send(Content::Location(bare))),
        ("message.send-contact", send(Content::Contact(Contacts { contacts: cards }))),
        ("message.send-poll", send(Content::Poll(poll))),
        ("message.send-forward", send(forward)),
        ("message.send-reply", reply),
    ];
    let mut all: Vec<_> =
        named.into_iter().map(|(name, message)| (name, Command::MessageSend(message), None)).collect();
    all.extend(media().map(|(name, content)| (name, Command::MessageSend(send(content)), None)));
    all
}

/// What a Cloud API number offers to choose from.
fn interactive() -> [(&'static str, Content); 2] {
    let button =
        |id: &str, title: &str| Button { id: id.try_into().expect("an id"), title: title.try_into().expect("a title") };
    let row = |id: &str, title: &str, description: Option<&str>| ListRow {
        id: id.try_into().expect("an id"),
        title: title.try_into().expect("a title"),
        description: description.map(|text| text.try_into().expect("a line")),
    };
    let section = |title: &str, rows| ListSection { title: Some(title.try_into().expect("a title")), rows };
    let text = || "Wann kommt ihr?".try_into().expect("a text");
    let days = section("Woche", vec![row("mon", "Montag", Some("9 bis 17 Uhr")), row("tue", "Dienstag", None)]);
    let sections = vec![days, section("Sonst", vec![row("no", "Gar nicht", None)])];
    [
        (
            "message.send-buttons",
            Content::Buttons(Buttons { text: text(), buttons: vec![button("yes", "Ja"), button("no", "Nein")] }),
        ),
        (
            "message.send-list",
            Content::List(Choices { text: text(), button: "Tage".try_into().expect("a title"), sections }),
        ),
    ]
}

/// `message.send` with every kind of medium and every way to name its file.
fn media() -> [(&'static str, Content); 7] {
    let at = |url: &str| Media::at(url.parse().expect("an address"));
    let photo = Media {
        caption: Some("So sieht es aus".try_into().expect("a text")),
        mime: Some("image/jpeg".parse().expect("a type")),
        ..at("https://shop.example.com/photos/17.jpg?token=abc")
    };
    let offer = Media {
        url: None,
        object: Some("media/7/offers/17.pdf".parse().expect("a key")),
        filename: Some("Angebot 17.pdf".to_owned().try_into().expect("a name")),
        ..at("https://example.com/")
    };
    let small = Media {
        url: None,
        inline: Some("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==".to_owned().try_into().expect("a file")),
        ..at("https://example.com/")
    };
    [
        ("message.send-image", Content::Image(photo)),
        ("message.send-document", Content::Document(offer)),
        ("message.send-sticker", Content::Sticker(small)),
        ("message.send-video", Content::Video(at("https://shop.example.com/tour.mp4"))),
        ("message.send-video_note", Content::VideoNote(at("https://shop.example.com/hello.mp4"))),
        ("message.send-audio", Content::Audio(at("https://shop.example.com/jingle.mp3"))),
        ("message.send-voice", Content::Voice(at("https://shop.example.com/answer.ogg"))),
    ]
}

/// File name, envelope.
pub(crate) fn events() -> Vec<(&'static str, Envelope)> {
    let events = vec![
        ("session.status-first", Event::SessionStatus(starting())),
        ("session.status-connected", Event::SessionStatus(connected())),
        ("session.status-restricted", Event::SessionStatus(restricted())),
        (
            "session.qr",
            Event::SessionQr(SessionQr {
                qr: "2@AbCdEf,GhIjKl=,MnOpQr=,StUvWx=,1".into(),
                expires_at: at(1_795_000_060_000),
                generation: 1,
                attempt: 1,
                max: 6,
            }),
        ),
        ("session.code", Event::SessionCode(code())),
        (
            "session.passkey",
            Event::SessionPasskey(SessionPasskey {
                request_id: "mbq3x0k1-1".to_owned(),
                request: PasskeyRequest {
                    challenge: "q83vASNFZ4mrze8BI0VniQ".to_owned(),
                    rp_id: Some("whatsapp.com".to_owned()),
                    user_verification: Some("required".to_owned()),
                    timeout: Some(600_000),
                    allow_credentials: Some(vec![PasskeyDescriptor {
                        id: "cGFzc2tleS1vZi1Bbm5h".to_owned(),
                        type_: "public-key".to_owned(),
                        transports: Some(vec!["internal".to_owned(), "hybrid".to_owned()]),
                    }]),
                },
                origin: "https://web.whatsapp.com".to_owned(),
                expires_at: at(1_795_000_600_000),
            }),
        ),
        ("message.received", Event::MessageReceived(received())),
        ("message.received-in-group", Event::MessageReceived(received_in_group())),
        (
            "message.sent-by-command",
            Event::MessageSent(MessageSent {
                message: own_message(),
                source: MessageSource::ThisSession,
                reference: Some("order-4711".try_into().expect("a reference")),
                command_id: Some(command_id()),
            }),
        ),
        (
            "message.sent-by-phone",
            Event::MessageSent(MessageSent {
                message: own_message(),
                source: MessageSource::Phone,
                reference: None,
                command_id: None,
            }),
        ),
        ("message.ack-delivered", Event::MessageAck(acknowledged(AckName::Delivered))),
        ("message.ack-failed", Event::MessageAck(acknowledged(AckName::Failed))),
        (
            "command.result-message",
            result("message.send", Outcome::Succeeded, None, None, Some(ResultData::Message(sent_message()))),
        ),
        (
            "command.result-session",
            result("session.status", Outcome::Succeeded, None, None, Some(ResultData::Session(connected()))),
        ),
        (
            "command.result-code",
            result("session.link_code", Outcome::Succeeded, None, None, Some(ResultData::Code(code()))),
        ),
        (
            "command.result-failed",
            result("message.send", Outcome::Failed, None, Some((ErrorCode::MessageRefused, Some("463"))), None),
        ),
        (
            "command.result-deferred",
            result(
                "message.send",
                Outcome::Deferred,
                Some(at(1_795_000_600_000)),
                Some((ErrorCode::RateLimited, None)),
                None,
            ),
        ),
        (
            "command.result-unknown",
            result("message.send", Outcome::Unknown, None, Some((ErrorCode::AckTimeout, None)), None),
        ),
        (
            "runtime.incompatible",
            Event::RuntimeIncompatible(RuntimeIncompatible {
                missing: vec!["link_code".to_owned()],
                capabilities: BTreeMap::from([("link_code".to_owned(), false), ("send_text".to_owned(), true)]),
                page_version: Some("2.3000.1030000000".to_owned()),
            }),
        ),
        (
            "message.media",
            Event::MessageMedia(MessageMedia {
                key: "false_987654321098765@lid_3A0123456789ABCDEF01".into(),
                id: "3A0123456789ABCDEF01".to_owned(),
                chat_id: "987654321098765@lid".into(),
                kind: "image".to_owned(),
                outcome: MediaOutcome::Available {
                    object: "media/7/shop/3A0123456789ABCDEF01-0123456789abcdef".to_owned(),
                    mime: "image/jpeg".to_owned(),
                    size: 81_920,
                    sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
                    expires_at: at(1_797_592_000_000),
                },
            }),
        ),
        (
            "message.media-failed",
            Event::MessageMedia(MessageMedia {
                key: "false_987654321098765@lid_3A0123456789ABCDEF02".into(),
                id: "3A0123456789ABCDEF02".to_owned(),
                chat_id: "987654321098765@lid".into(),
                kind: "ptt".to_owned(),
                outcome: MediaOutcome::Failed { reason: MediaFailure::Gone },
            }),
        ),
        (
            "message.sent-by-cloud",
            Event::MessageSent(MessageSent {
                message: Message {
                    key: CLOUD_ID.into(),
                    id: CLOUD_ID.to_owned(),
                    provider: Some(Provider::Cloud),
                    ..own_message()
                },
                source: MessageSource::ThisSession,
                reference: None,
                command_id: Some(command_id()),
            }),
        ),
        (
            "message.ack-by-cloud",
            Event::MessageAck(MessageAck {
                key: CLOUD_ID.into(),
                id: CLOUD_ID.to_owned(),
                provider: Some(Provider::Cloud),
                ..acknowledged(AckName::Read)
            }),
        ),
        (
            "command.result-by-cloud",
            Event::CommandResult(CommandResult {
                command_id: command_id(),
                command_type: "message.send".to_owned(),
                outcome: Outcome::Failed,
                until: None,
                error: Some(CommandError::new(ErrorCode::WindowClosed, "for people").with_provider_code("131047")),
                provider: Some(Provider::Cloud),
                data: None,
            }),
        ),
    ];
    // These came later, and what was written once keeps its number.
    let later = kinds()
        .into_iter()
        .chain(changes())
        .chain(pages())
        .chain(paces())
        .chain(groups())
        .chain(going())
        .chain(syncs())
        .chain(notices())
        .chain(calls())
        .chain(labels());
    let numbered = (1..).zip(events).chain((19..).zip(later));
    numbered.map(|(seq, (name, event))| (name, envelope(seq, event))).collect()
}

/// Messages that hold more than a text.
fn kinds() -> Vec<(&'static str, Event)> {
    let of = |kind: &str| Message { kind: kind.to_owned(), text: None, ..received() };
    let place = Place {
        latitude: 52.518611,
        longitude: 13.376111,
        name: Some("Reichstag".into()),
        address: Some("Platz der Republik 1".into()),
        url: None,
    };
    let card = VisitingCard { name: Some("Anna".into()), vcard: "BEGIN:VCARD\nFN:Anna\nEND:VCARD".into() };
    let poll = Question {
        question: "Wann kommt ihr?".into(),
        options: vec!["heute".into(), "morgen".into()],
        multiple: false,
    };
    let medium = Medium {
        mimetype: Some("application/pdf".to_owned()),
        size: Some(48_213),
        filename: Some("Grüße.pdf".into()),
        seconds: None,
        width: None,
        height: None,
    };
    let quoted = Quoted {
        id: own_id(),
        sender_id: Some("123456789012345@lid".into()),
        kind: Some("chat".to_owned()),
        text: Some("Hallo".into()),
    };
    vec![
        ("message.received-location", Message { location: Some(place), ..of("location") }),
        ("message.received-contact", Message { contacts: vec![card], ..of("vcard") }),
        ("message.received-poll", Message { poll: Some(poll), ..of("poll_creation") }),
        ("message.received-document", Message { has_media: true, media: Some(medium), ..of("document") }),
        (
            "message.received-answer",
            Message {
                quoted_id: Some(own_id()),
                quoted: Some(quoted),
                mentions: vec!["123456789012345@lid".into()],
                forwarded: Some(2),
                ..received()
            },
        ),
    ]
    .into_iter()
    .map(|(name, message)| (name, Event::MessageReceived(message)))
    .collect()
}

/// What becomes of messages, and what people do besides writing.
fn changes() -> Vec<(&'static str, Event)> {
    let Message { key, id, chat_id, sender, timestamp, .. } = received();
    let reaction = |emoji: Option<&str>| {
        Event::MessageReaction(MessageReaction {
            key: own_key().into(),
            id: own_id(),
            chat_id: chat_id.clone(),
            sender: sender.clone(),
            from_me: false,
            emoji: emoji.map(Into::into),
            timestamp: at(1_795_000_101_250),
        })
    };
    vec![
        (
            "message.edited",
            Event::MessageEdited(MessageEdited { message: received(), edited_at: Some(at(1_795_000_102_500)) }),
        ),
        (
            "message.revoked",
            Event::MessageRevoked(MessageRevoked {
                key: key.clone(),
                id: id.clone(),
                chat_id: chat_id.clone(),
                from_me: false,
            }),
        ),
        ("message.reaction", reaction(Some("👍"))),
        ("message.reaction-back", reaction(None)),
        (
            "message.waiting",
            Event::MessageWaiting(MessageWaiting {
                key,
                id,
                chat_id: chat_id.clone(),
                sender: sender.clone(),
                timestamp,
            }),
        ),
        (
            "poll.vote",
            Event::PollVote(PollVote {
                key: own_key().into(),
                id: own_id(),
                chat_id: chat_id.clone(),
                sender: sender.clone(),
                from_me: false,
                options: vec!["heute".into()],
                timestamp: at(1_795_000_103_750),
            }),
        ),
        (
            "presence.update",
            Event::PresenceUpdate(PresenceUpdate { chat_id, participant: None, state: PresenceState::Typing }),
        ),
        (
            "call.received",
            Event::CallReceived(CallReceived {
                id: "5C0A2F".to_owned(),
                sender,
                video: true,
                group: false,
                timestamp,
                rejected: false,
            }),
        ),
        (
            "command.result-contact",
            result("contact.check", Outcome::Succeeded, None, None, Some(ResultData::Contact(checked()))),
        ),
    ]
}

/// A session's past, as a sync tells it.
fn syncs() -> Vec<(&'static str, Event)> {
    let sync_id = || command_id().to_string();
    let progress = |state, chats| {
        let (chats_total, started_at) = (120, at(1_795_000_000_000));
        SyncProgress { sync_id: sync_id(), state, chats, chats_total, messages: 50 * chats, groups: 0, started_at }
    };
    let mut parts = (None, None, None);
    for (_, event) in pages() {
        let Event::CommandResult(result) = event else { continue };
        match result.data {
            Some(ResultData::Chats(page)) => parts.0 = Some(page.chats),
            Some(ResultData::History(page)) => parts.1 = Some(page.messages),
            Some(ResultData::Group(group)) => parts.2 = Some(group),
            _ => {}
        }
    }
    let (chats, messages, group) = (parts.0.expect("chats"), parts.1.expect("messages"), parts.2.expect("a group"));
    let of_a_chat = SyncMessages { sync_id: sync_id(), chat_id: "987654321098765@lid".into(), messages };
    vec![
        ("sync.progress", Event::SyncProgress(progress(SyncState::Running, 50))),
        ("sync.progress-done", Event::SyncProgress(progress(SyncState::Done, 120))),
        ("sync.progress-superseded", Event::SyncProgress(progress(SyncState::Superseded, 50))),
        ("sync.chats", Event::SyncChats(SyncChats { sync_id: sync_id(), chats })),
        ("sync.messages", Event::SyncMessages(of_a_chat)),
        ("sync.groups", Event::SyncGroups(SyncGroups { sync_id: sync_id(), groups: vec![group] })),
    ]
}

/// What is asked for a page at a time.
fn pages() -> Vec<(&'static str, Event)> {
    let cursor = || Some("98204999899 987654321098765@lid".into());
    let chat = ChatSummary {
        chat_id: "987654321098765@lid".into(),
        name: Some("Bernd".into()),
        phone: Some("4915187654321".into()),
        lid: Some("987654321098765@lid".into()),
        unread: 2,
        timestamp: Some(at(1_795_000_100_000)),
        archived: false,
        pinned: true,
        muted: false,
        labels: vec!["7".into()],
    };
    let person = ContactSummary {
        id: "987654321098765@lid".into(),
        phone: Some("4915187654321".into()),
        lid: Some("987654321098765@lid".into()),
        name: Some("Bernd".into()),
        notify_name: None,
    };
    let group = GroupSummary {
        chat_id: "120363012345678901@g.us".into(),
        subject: Some("Anna und Bernd".into()),
        owner: Some("123456789012345@lid".into()),
        size: 2,
        announce: false,
        restrict: true,
        admin: true,
    };
    let participant = Participant {
        id: "123456789012345@lid".into(),
        phone: Some("4915112345678".into()),
        lid: Some("123456789012345@lid".into()),
        admin: true,
    };
    let past = vec![
        PastMessage { message: received(), from_me: false },
        PastMessage { message: own_message(), from_me: true },
    ];
    let data = [
        ("command.result-chats", "chat.list", ResultData::Chats(ChatPage { chats: vec![chat], cursor: cursor() })),
        ("command.result-history", "chat.history", ResultData::History(HistoryPage { messages: past, cursor: None })),
        (
            "command.result-contacts",
            "contact.list",
            ResultData::Contacts(ContactPage { contacts: vec![person], cursor: cursor() }),
        ),
        (
            "command.result-groups",
            "group.list",
            ResultData::Groups(GroupPage { groups: vec![group.clone()], cursor: None }),
        ),
        (
            "command.result-group",
            "group.info",
            ResultData::Group(GroupInfo {
                group,
                ephemeral: 86_400,
                description: Some("Hallo alle".into()),
                participants: vec![participant],
            }),
        ),
    ];
    let result_of = |(name, type_, data)| (name, result(type_, Outcome::Succeeded, None, None, Some(data)));
    data.map(result_of).to_vec()
}

/// What is told of groups.
fn groups() -> Vec<(&'static str, Event)> {
    let changed = ParticipantsChanged {
        participants: vec![
            ParticipantChanged { id: "987654321098765@lid".into(), done: true, code: 200, invitation: None },
            ParticipantChanged {
                id: "123456789012345@lid".into(),
                done: false,
                code: 403,
                invitation: Some(Invitation { code: "Q0hBVA".into(), expires_at: Some(at(1_795_086_400_000)) }),
            },
        ],
    };
    let told = GroupParticipants {
        chat_id: "120363012345678901@g.us".into(),
        change: GroupChange::Promote,
        author: Some(received().sender),
        participants: vec![received_in_group().sender],
    };
    let created =
        GroupCreated { chat_id: "120363012345678901@g.us".into(), participants: changed.participants.clone() };
    let link = GroupLink { invite_link: "https://chat.whatsapp.com/Q0hBVGludml0YXRpb24x".into() };
    let update = GroupUpdate {
        chat_id: "120363012345678901@g.us".into(),
        changed: vec![GroupSetting::Subject, GroupSetting::Announce],
        subject: Some("Anna und Bernd".into()),
        description: None,
        announce: true,
        restrict: false,
        ephemeral: 604_800,
    };
    let data = [
        ("command.result-participants", "group.participants", ResultData::Participants(changed)),
        ("command.result-group-created", "group.create", ResultData::GroupCreated(created)),
        ("command.result-group-link", "group.invite", ResultData::GroupLink(link)),
    ];
    let result_of = |(name, type_, data)| (name, result(type_, Outcome::Succeeded, None, None, Some(data)));
    let changes =
        [("group.participants", Event::GroupParticipants(told)), ("group.update", Event::GroupUpdate(update))];
    data.into_iter().map(result_of).chain(changes).collect()
}

/// What follows from no command.
fn notices() -> [(&'static str, Event); 2] {
    let mapping = ContactMapping { phone: "4915187654321".into(), lid: "987654321098765@lid".into() };
    let sent = sent_message();
    let stalled = MessageStalled {
        key: sent.key,
        id: sent.id,
        chat_id: sent.chat_id,
        timestamp: sent.timestamp,
        reference: Some("order-4711".try_into().expect("a reference")),
        command_id: Some(command_id()),
    };
    [("contact.mapping", Event::ContactMapping(mapping)), ("message.stalled", Event::MessageStalled(stalled))]
}

/// How a session does, and what it has sent.
fn paces() -> [(&'static str, Event); 2] {
    [
        ("session.status-health", Event::SessionStatus(slow())),
        (
            "command.result-session-budget",
            result("session.limits", Outcome::Succeeded, None, None, Some(ResultData::Session(budgeted()))),
        ),
    ]
}

/// What becomes of calls.
fn calls() -> [(&'static str, Event); 2] {
    let rejected = CallReceived {
        id: "5C0A30".to_owned(),
        sender: received().sender,
        video: false,
        group: false,
        timestamp: at(1_795_000_104_000),
        rejected: true,
    };
    let set = SessionStatusChanged { calls: Some(Calls::Reject), ..connected() };
    [
        ("call.received-rejected", Event::CallReceived(rejected)),
        (
            "command.result-session-settings",
            result("session.settings", Outcome::Succeeded, None, None, Some(ResultData::Session(set))),
        ),
    ]
}

/// How a campaign goes.
fn going() -> [(&'static str, Event); 2] {
    [
        ("campaign.progress", Event::CampaignProgress(progress())),
        (
            "command.result-campaign",
            result("campaign.status", Outcome::Succeeded, None, None, Some(ResultData::Campaign(progress()))),
        ),
    ]
}

/// Labels of a business.
fn labels() -> [(&'static str, Event); 3] {
    let label = Label { id: "7".into(), name: "Bezahlt".into(), color: Some("#64c4ff".into()) };
    let data = ResultData::Labels(Labels { labels: vec![label.clone()] });
    let put = ChatLabel {
        chat_id: "987654321098765@lid".into(),
        label_id: "7".into(),
        label: Some("Bezahlt".into()),
        labelled: true,
    };
    [
        ("command.result-labels", result("label.list", Outcome::Succeeded, None, None, Some(data))),
        ("label.update", Event::LabelUpdate(LabelUpdate { label, deleted: false })),
        ("chat.label", Event::ChatLabel(put)),
    ]
}

fn checked() -> ContactChecked {
    ContactChecked {
        on_whatsapp: true,
        phone: Some("4915187654321".into()),
        lid: Some("987654321098765@lid".into()),
        business: Some(false),
        age: 0,
    }
}

pub(crate) fn envelope(seq: u64, event: Event) -> Envelope {
    let occurred_at = at(1_795_000_000_000 + seq);
    let answers = matches!(event, Event::CommandResult(_));
    Envelope {
        id: EventId::derive(occurred_at.unix_ms(), &["sample", event.type_name(), &seq.to_string()]),
        workspace_id: WorkspaceId::new(7).expect("a workspace"),
        session_id: if matches!(event, Event::CampaignProgress(_)) { SessionId::any() } else { session_id() },
        worker_id: "prod/wafleet-6d5f-x2x9q".parse().expect("a worker"),
        epoch: 3,
        seq,
        occurred_at,
        correlation_id: answers.then(command_id),
        metadata: answers.then(|| Metadata::parse(r#"{"campaign":17,"rate":1.0}"#).expect("an object")),
        event,
    }
}

pub(crate) fn session_id() -> SessionId {
    "support-01".parse().expect("a session")
}

pub(crate) fn command_id() -> CommandId {
    "01KAPW7T00ABCDEFGHJKMNPQRS".parse().expect("a command")
}

fn at(unix_ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(unix_ms)
}

fn healthy() -> Health {
    Health { score: 100, degraded: false, restricted: None, moving: false, parts: None }
}

fn starting() -> SessionStatusChanged {
    SessionStatusChanged {
        status: SessionStatus::Initializing,
        previous: None,
        since: at(1_795_000_000_001),
        cause: Cause::Command,
        attempt: 1,
        health: healthy(),
        phone: None,
        lid: None,
        name: None,
        budget: None,
        calls: None,
    }
}

fn budgeted() -> SessionStatusChanged {
    let used = |used, limit| Used { used, limit };
    SessionStatusChanged {
        budget: Some(Budget {
            minute: used(20, 20),
            hour: used(121, 500),
            day: used(733, 5000),
            cold_day: used(12, 50),
            checks_hour: used(3, 60),
            urgent_reserve_percent: 25,
            contact_per_minute: 10,
            warmth_percent: 100,
            weight: 100,
            next_at: Some(at(1_795_000_030_000)),
        }),
        ..connected()
    }
}

fn connected() -> SessionStatusChanged {
    SessionStatusChanged {
        status: SessionStatus::Connected,
        previous: Some(SessionStatus::Authenticating),
        since: at(1_795_000_020_000),
        cause: Cause::Ready,
        attempt: 0,
        phone: Some("4915112345678".into()),
        lid: Some("123456789012345@lid".into()),
        name: Some("Anna".into()),
        ..starting()
    }
}

fn control() -> CampaignControl {
    CampaignControl { campaign: "spring-2027".parse().expect("a campaign") }
}

fn phones() -> OptOut {
    OptOut { phones: vec!["4915112345678".parse().expect("a number"), "12025550123".parse().expect("a number")] }
}

fn campaign_message(quiet_hours: Option<QuietHours>) -> Command {
    let to = "4915112345678".parse().expect("a chat");
    let campaign = Some(CampaignPart { id: control().campaign, quiet_hours });
    Command::MessageSend(MessageSend { campaign, ..MessageSend::text(to, "20 %".try_into().expect("a text")) })
}

fn progress() -> CampaignProgress {
    CampaignProgress {
        campaign: control().campaign,
        state: CampaignState::Running,
        waiting: 12,
        succeeded: 480,
        failed: 6,
        unknown: 1,
        expired: 1,
    }
}

fn slow() -> SessionStatusChanged {
    SessionStatusChanged {
        previous: Some(SessionStatus::Connected),
        cause: Cause::Health,
        health: Health {
            score: 62,
            parts: Some(HealthParts { connection: 90, acks: 62, sends: 95, restriction: 100 }),
            ..healthy()
        },
        ..connected()
    }
}

fn restricted() -> SessionStatusChanged {
    SessionStatusChanged {
        previous: Some(SessionStatus::Connected),
        cause: Cause::Restricted,
        health: Health {
            score: 40,
            degraded: true,
            restricted: Some(Restriction { kind: "REACHOUT_TIMELOCK".to_owned(), until: Some(at(1_795_086_400_000)) }),
            moving: true,
            parts: None,
        },
        ..connected()
    }
}

fn code() -> SessionCode {
    SessionCode { code: "ABCD1234".into(), phone: "4915112345678".into(), expires_at: at(1_795_000_160_000) }
}

fn received() -> Message {
    Message {
        key: "false_4915187654321@c.us_3A0123456789ABCDEF01".into(),
        id: "3A0123456789ABCDEF01".to_owned(),
        chat_id: "4915187654321@c.us".into(),
        sender: Sender {
            id: "4915187654321@c.us".into(),
            phone: Some("4915187654321".into()),
            lid: None,
            authoritative: Authoritative::Phone,
        },
        kind: "chat".to_owned(),
        text: Some("Wann kommt ihr? \u{2028}🚚".into()),
        timestamp: Timestamp::from_unix_secs(1_795_000_100),
        has_media: false,
        quoted_id: None,
        notify_name: Some("Bernd".into()),
        provider: None,
        location: None,
        contacts: Vec::new(),
        poll: None,
        media: None,
        mentions: Vec::new(),
        forwarded: None,
        quoted: None,
    }
}

fn received_in_group() -> Message {
    Message {
        key: "false_120363012345678901@g.us_3A0123456789ABCDEF02_987654321098765@lid".into(),
        id: "3A0123456789ABCDEF02".to_owned(),
        chat_id: "120363012345678901@g.us".into(),
        sender: Sender {
            id: "987654321098765@lid".into(),
            phone: None,
            lid: Some("987654321098765@lid".into()),
            authoritative: Authoritative::Lid,
        },
        kind: "image".to_owned(),
        text: None,
        has_media: true,
        quoted_id: Some("3A0123456789ABCDEF01".to_owned()),
        notify_name: None,
        provider: None,
        ..received()
    }
}

fn own_id() -> String {
    MessageId::for_command(&command_id(), &session_id()).to_string()
}

fn own_key() -> String {
    format!("true_4915187654321@c.us_{}", own_id())
}

fn own_message() -> Message {
    Message {
        key: own_key().into(),
        id: own_id(),
        sender: Sender {
            id: "4915112345678@c.us".into(),
            phone: Some("4915112345678".into()),
            lid: Some("123456789012345@lid".into()),
            authoritative: Authoritative::Phone,
        },
        text: Some("Grüße 👋".into()),
        notify_name: None,
        provider: None,
        ..received()
    }
}

const CLOUD_ID: &str = "wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI1RjQyNUE3NDYxNkQ1OTU1";

fn acknowledged(level: AckName) -> MessageAck {
    MessageAck {
        key: own_key().into(),
        id: own_id(),
        chat_id: "4915187654321@c.us".into(),
        ack: level.into(),
        reference: Some("order-4711".try_into().expect("a reference")),
        command_id: Some(command_id()),
        provider: None,
    }
}

fn sent_message() -> SentMessage {
    SentMessage {
        key: own_key().into(),
        id: own_id(),
        chat_id: "4915187654321@c.us".into(),
        timestamp: Timestamp::from_unix_secs(1_795_000_100),
        ack: AckName::Sent.into(),
    }
}

fn result(
    command_type: &str,
    outcome: Outcome,
    until: Option<Timestamp>,
    error: Option<(ErrorCode, Option<&str>)>,
    data: Option<ResultData>,
) -> Event {
    let error = error.map(|(code, provider_code)| {
        let error = CommandError::new(code, "what a person should know");
        match provider_code {
            Some(provider_code) => error.with_provider_code(provider_code),
            None => error,
        }
    });
    Event::CommandResult(CommandResult {
        command_id: command_id(),
        command_type: command_type.to_owned(),
        outcome,
        until,
        error,
        provider: None,
        data,
    })
}
