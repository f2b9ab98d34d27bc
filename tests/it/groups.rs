//! Making and changing groups, and what is told of changes that others make.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wafleet_imitation::{Address, GroupId};
use wafleet_protocol::command::{
    Action, AskGroup, ChangeParticipants, Command, CreateGroup, GroupPicture, GroupSettings, InviteLink, LeaveGroup,
    ParticipantChange,
};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Event, GroupChange, GroupInfo, GroupSetting, GroupUpdate, Outcome, ResultData, Sender};
use wafleet_protocol::id::{ChatId, CommandId};
use wafleet_tests::fleet::{Host, PATIENCE, Target};
use wafleet_tests::wait;

use crate::actions::{ANNA, BERT, CARLA, NOBODY, done, linked, received, refused, told};

const DORA: &str = "4915166666666";

/// A picture of one pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// Width and height of a JPEG, as its frame header says them.
fn edges(url: &str) -> Result<(u16, u16)> {
    let data = url.strip_prefix("data:image/jpeg;base64,").context("not a JPEG")?;
    let bytes = STANDARD.decode(data)?;
    let frame = bytes.windows(9).find(|header| header.starts_with(&[0xff, 0xc0])).context("no frame header")?;
    let number = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    Ok((number(7), number(5)))
}

async fn told_update(host: &Host, group: &GroupId, setting: GroupSetting) -> Result<GroupUpdate> {
    let find = |event: &Event| match event {
        Event::GroupUpdate(update) if update.chat_id.as_str() == group.to_string() => {
            update.changed.contains(&setting).then(|| update.clone())
        }
        _ => None,
    };
    told(host, &format!("{setting:?} of the group"), find).await
}

#[tokio::test]
async fn groups_are_administrated_and_their_changes_told() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, anna) = linked(&target).await?;
    let host = &stage.host;
    let (bert, carla) = (stage.site.phone(BERT, "Bert"), stage.site.phone(CARLA, "Carla"));
    let dora = stage.site.phone(DORA, "Dora");
    dora.refuse_groups();
    let group = anna.create_group("The club", [BERT]);
    received(host, &bert.send_text(Address::Group(group.clone()), "hello all")).await?;
    let id: ChatId = group.to_string().parse()?;
    let change = async |change: ParticipantChange, people: &[&str]| -> Result<Vec<(bool, u16, bool)>> {
        let participants = people.iter().map(|person| person.parse()).collect::<Result<_, _>>()?;
        let asked = ChangeParticipants { group: id.clone(), change, participants };
        let data = done(host, &target, Action::ChangeParticipants(asked)).await?;
        let Some(ResultData::Participants(changed)) = data else { bail!("{data:?}") };
        Ok(changed.participants.iter().map(|one| (one.done, one.code, one.invitation.is_some())).collect())
    };
    let info = async || -> Result<GroupInfo> {
        let data = done(host, &target, Action::GroupInfo(AskGroup { group: id.clone() })).await?;
        let Some(ResultData::Group(info)) = data else { bail!("{data:?}") };
        Ok(info)
    };
    let told_change = async |wanted: GroupChange, who: &str| {
        let find = |event: &Event| match event {
            Event::GroupParticipants(told) if told.change == wanted => {
                let is_who = |person: &Sender| person.phone.as_ref().is_some_and(|phone| phone.as_str() == who);
                told.participants.iter().any(is_who).then(|| told.clone())
            }
            _ => None,
        };
        told(host, &format!("{wanted:?} of {who}"), find).await
    };

    // Twice, as a broker may: who is in it is not added again. Some do not let themselves be added, some do not exist.
    for _ in 0..2 {
        let codes = change(ParticipantChange::Add, &[CARLA, DORA, NOBODY]).await?;
        ensure!(codes == [(true, 200, false), (false, 403, true), (false, 404, false)], "{codes:?}");
    }
    let added = told_change(GroupChange::Add, CARLA).await?;
    ensure!(added.chat_id.as_str() == group.to_string(), "{added:?}");
    ensure!(added.author.and_then(|author| author.phone).is_some_and(|phone| phone.as_str() == ANNA), "nobody did it");
    ensure!(info().await?.participants.len() == 3, "{:?}", info().await?);

    change(ParticipantChange::Promote, &[CARLA]).await?;
    told_change(GroupChange::Promote, CARLA).await?;
    let admins = info().await?.participants.iter().filter(|participant| participant.admin).count();
    ensure!(admins == 2, "{admins} administrators");
    change(ParticipantChange::Demote, &[CARLA]).await?;
    told_change(GroupChange::Demote, CARLA).await?;
    change(ParticipantChange::Remove, &[CARLA]).await?;
    told_change(GroupChange::Remove, CARLA).await?;
    ensure!(change(ParticipantChange::Promote, &[CARLA]).await? == [(false, 404, false)], "she is not in it");
    ensure!(info().await?.participants.len() == 2);

    // The link stays until it is revoked.
    let link = async |revoke: bool| -> Result<String> {
        let data = done(host, &target, Action::GroupInvite(InviteLink { group: id.clone(), revoke })).await?;
        let Some(ResultData::GroupLink(link)) = data else { bail!("{data:?}") };
        Ok(link.invite_link.as_str().to_owned())
    };
    let first = link(false).await?;
    ensure!(first.starts_with("https://chat.whatsapp.com/") && link(false).await? == first, "{first}");
    let second = link(true).await?;
    ensure!(second != first && link(false).await? == second, "{first} {second}");

    let settings = GroupSettings {
        group: id.clone(),
        subject: Some("The other club".try_into()?),
        description: Some("Every\nThursday".try_into()?),
        announce: Some(true),
        restrict: Some(true),
        ephemeral: Some(604_800),
    };
    done(host, &target, Action::GroupSettings(settings.clone())).await?;
    let shown =
        async || -> Result<Option<GroupInfo>> { Ok(Some(info().await?).filter(|info| info.ephemeral == 604_800)) };
    let set = wait::until("the page shows the settings", PATIENCE, shown).await?;
    ensure!(set.group.subject.as_ref().map(|subject| subject.as_str()) == Some("The other club"), "{set:?}");
    ensure!(set.description.as_ref().map(|text| text.as_str()) == Some("Every\nThursday"), "{set:?}");
    ensure!(set.group.announce && set.group.restrict && set.group.admin, "{set:?}");

    let update = told_update(host, &group, GroupSetting::Restrict).await?;
    ensure!(update.announce && update.restrict, "{update:?}");
    let update = told_update(host, &group, GroupSetting::Ephemeral).await?;
    ensure!(update.ephemeral == 604_800, "{update:?}");
    let never = GroupSettings {
        group: id.clone(),
        subject: None,
        description: None,
        announce: None,
        restrict: None,
        ephemeral: Some(0),
    };
    done(host, &target, Action::GroupSettings(never)).await?;
    let shown = async || -> Result<Option<GroupInfo>> { Ok(Some(info().await?).filter(|info| info.ephemeral == 0)) };
    let set = wait::until("the page shows that messages stay", PATIENCE, shown).await?;
    ensure!(set.group.announce && set.group.restrict, "the rest stays: {set:?}");

    let picture = |inline: Option<&str>| -> Result<Action> {
        let inline = inline.map(|text| text.to_owned().try_into()).transpose()?;
        let remove = inline.is_none().then_some(true);
        Ok(Action::GroupPicture(GroupPicture { group: id.clone(), url: None, object: None, inline, remove }))
    };
    for _ in 0..2 {
        done(host, &target, picture(Some(PNG))?).await?;
    }
    let (small, large) = stage.site.picture_of(&group).context("the group has a picture")?;
    ensure!((edges(&small)?, edges(&large)?) == ((96, 96), (640, 640)), "{small} {large}");
    ensure!(refused(host, &target, picture(Some("bm8gcGljdHVyZQ=="))?).await? == ErrorCode::MediaRefused);
    for _ in 0..2 {
        done(host, &target, picture(None)?).await?;
    }
    ensure!(stage.site.picture_of(&group).is_none());

    // What others do is told, too; and who is no administrator is refused.
    ensure!(bert.change_group(&group, "leave", [BERT; 0]));
    told_change(GroupChange::Leave, BERT).await?;
    let theirs = carla.create_group("Carla's", [ANNA, BERT]);
    received(host, &carla.send_text(Address::Group(theirs.clone()), "welcome")).await?;
    ensure!(carla.set_in_group(&theirs, "subject", "Carla's club"));
    let update = told_update(host, &theirs, GroupSetting::Subject).await?;
    ensure!(update.subject.as_ref().map(|subject| subject.as_str()) == Some("Carla's club"), "{update:?}");
    ensure!(update.changed == [GroupSetting::Subject], "{update:?}");
    let their_id: ChatId = theirs.to_string().parse()?;
    let add = ChangeParticipants {
        group: their_id.clone(),
        change: ParticipantChange::Remove,
        participants: vec![BERT.parse()?],
    };
    ensure!(refused(host, &target, Action::ChangeParticipants(add)).await? == ErrorCode::NotAllowed);
    let rename = GroupSettings { group: their_id.clone(), subject: None, description: None, ..settings };
    ensure!(refused(host, &target, Action::GroupSettings(rename)).await? == ErrorCode::NotAllowed);
    let theirs = GroupPicture { group: their_id.clone(), url: None, object: None, inline: None, remove: Some(true) };
    ensure!(refused(host, &target, Action::GroupPicture(theirs)).await? == ErrorCode::NotAllowed);
    for _ in 0..2 {
        done(host, &target, Action::LeaveGroup(LeaveGroup { group: their_id.clone() })).await?;
    }
    told_change(GroupChange::Leave, ANNA).await?;
    Ok(())
}

#[tokio::test]
async fn a_group_is_made_once_and_says_who_is_in_it() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, _anna) = linked(&target).await?;
    let host = &stage.host;
    stage.site.phone(DORA, "Dora").refuse_groups();
    let create = |people: &[&str]| -> Result<Command> {
        let participants = people.iter().map(|person| person.parse()).collect::<Result<_, _>>()?;
        Ok(Command::Action(Action::CreateGroup(CreateGroup { subject: "The club".try_into()?, participants })))
    };

    let letter = host.letter(&target, &create(&[BERT, DORA, NOBODY])?)?;
    let id: CommandId = letter.message_id.clone().context("a command has an id")?.parse()?;
    // The same command again, as a broker may bring it, is the same group.
    host.post(&letter).await?;
    let result = host.final_result(&id).await?;
    host.post(&letter).await?;
    let Some(ResultData::GroupCreated(made)) = result.data else { bail!("{result:?}") };
    let found: Vec<_> = made.participants.iter().map(|one| (one.done, one.code, one.invitation.is_some())).collect();
    ensure!(found == [(true, 200, false), (false, 403, true), (false, 404, false)], "{made:?}");
    ensure!(made.participants.iter().all(|one| one.invitation.as_ref().is_none_or(|one| one.expires_at.is_some())));
    let group: ChatId = made.chat_id.as_str().parse()?;
    let data = done(host, &target, Action::GroupInfo(AskGroup { group })).await?;
    let Some(ResultData::Group(info)) = data else { bail!("{data:?}") };
    ensure!(info.group.size == 2 && info.group.admin && !info.group.announce, "{info:?}");
    ensure!(stage.site.groups() == ["The club"], "{:?}", stage.site.groups());

    let nobody = host.ask(&target, &create(&[NOBODY])?).await?;
    ensure!(nobody.error.as_ref().map(|error| error.code) == Some(ErrorCode::RecipientNotFound), "{nobody:?}");
    Ok(())
}

#[tokio::test]
async fn a_group_whose_maker_was_killed_is_not_made_again() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, mut first, _anna) = linked(&target).await?;
    let host = &stage.host;
    stage.site.faults(|faults| faults.silent_groups = true);
    let subject = "The club".try_into()?;
    let create = Action::CreateGroup(CreateGroup { subject, participants: vec![BERT.parse()?] });
    let id = host.send(&target, &Command::Action(create)).await?;
    let made = async || Ok((!stage.site.groups().is_empty()).then_some(()));
    wait::until("the group is made", PATIENCE, made).await?;
    first.kill()?;
    stage.site.faults(|faults| faults.silent_groups = false);

    let mut second = stage.worker("w2").spawn()?;
    second.wait_until_ready().await?;
    let result = host.final_result(&id).await?;
    ensure!(result.outcome == Outcome::Unknown, "{result:?}");
    ensure!(result.error.as_ref().map(|error| error.code) == Some(ErrorCode::Interrupted), "{result:?}");
    ensure!(stage.site.groups() == ["The club"], "{:?}", stage.site.groups());
    Ok(())
}
