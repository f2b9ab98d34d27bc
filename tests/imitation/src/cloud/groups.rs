//! Groups: creating them, changing them, and telling their members.

use serde_json::{Value, json};

use super::Moment;
use super::connection::ConnectionId;
use super::state::State;
use crate::ids::{Address, GroupId, Number};
use crate::wire::{Group, GroupDeed, Item, Person, ToPage};

/// WhatsApp's code for what was done.
const OK: u16 = 200;
/// WhatsApp's code for "you are not allowed to".
const FORBIDDEN: u16 = 403;
/// WhatsApp's code for what does not exist.
pub(super) const NOT_FOUND: u16 = 404;

/// What a page is told of everybody it named. Who does not let themselves be added can be invited.
fn results(codes: &[u16]) -> Vec<Value> {
    let invite = |code: u16| (code == FORBIDDEN).then_some("SW52aXRl");
    codes.iter().map(|code| json!({ "code": code, "invite": invite(*code) })).collect()
}

/// What a page asks to change in a group.
#[derive(Debug)]
pub(super) struct GroupChange {
    pub(super) q: u64,
    pub(super) group: GroupId,
    pub(super) change: String,
    pub(super) participants: Vec<Address>,
    pub(super) value: Value,
}

impl State {
    /// Creates a group and tells its members.
    pub(crate) fn create_group(&mut self, subject: &str, owner: &Number, others: &[Number]) -> GroupId {
        let id = GroupId::numbered(self.groups.len() as u64 + 1);
        let participants = std::iter::once(owner).chain(others).map(|number| self.person(number)).collect();
        let group = Group {
            id: id.clone(),
            subject: subject.to_owned(),
            description: None,
            announce: false,
            restrict: false,
            ephemeral: 0,
            owner: owner.lid(),
            picture: None,
            codes: 0,
            admins: vec![owner.lid()],
            participants,
        };
        self.groups.insert(id.clone(), group.clone());
        for member in std::iter::once(owner).chain(others) {
            self.deliver(member, None, &Item::Group { group: group.clone(), deed: None });
        }
        id
    }

    pub(super) fn groups_of(&self, number: &Number) -> Vec<Group> {
        let is_member = |group: &&Group| group.participants.iter().any(|person| person.number == *number);
        self.groups.values().filter(is_member).cloned().collect()
    }

    /// A page changes a group that its account administrates, or leaves one.
    pub(super) fn change_group(&mut self, id: ConnectionId, wanted: GroupChange, now: Moment) {
        let Some((_, author)) = self.sender_of(id) else { return };
        let q = wanted.q;
        let reply = match self.changed_by(&author, wanted, now) {
            Ok(codes) => ToPage::Reply { q, ok: Some(json!({ "results": results(&codes) })), error: None },
            Err(code) => ToPage::Reply { q, ok: None, error: Some(code) },
        };
        self.answer_with(id, reply, now);
    }

    /// A page makes a group. Who does not let themselves be added gets an invitation instead.
    pub(super) fn make_group(&mut self, id: ConnectionId, q: u64, subject: &str, people: &[Address], now: Moment) {
        let Some((_, owner)) = self.sender_of(id) else { return };
        let (mut codes, mut members) = (Vec::new(), Vec::new());
        for address in people {
            codes.push(match self.number_of(address).filter(|number| !self.nobody.contains(number)) {
                None => NOT_FOUND,
                Some(number) if self.shy.contains(&number) => FORBIDDEN,
                Some(number) => {
                    members.push(number);
                    OK
                }
            });
        }
        let group = self.create_group(subject, &owner, &members);
        if !self.faults.silent_groups {
            self.answer(id, q, json!({ "group": group, "results": results(&codes) }), now);
        }
    }

    /// A page asks for the code by which people come into a group that its account administrates.
    pub(super) fn invite_to_group(&mut self, id: ConnectionId, q: u64, group: &GroupId, revoke: bool, now: Moment) {
        let Some((_, who)) = self.sender_of(id) else { return };
        let reply = match self.groups.get_mut(group) {
            None => ToPage::Reply { q, ok: None, error: Some(NOT_FOUND) },
            Some(found) if !found.admins.contains(&who.lid()) => ToPage::Reply { q, ok: None, error: Some(FORBIDDEN) },
            Some(found) => {
                found.codes += u32::from(revoke);
                let code = format!("Code{}of{}", found.codes, group.wid().trim_end_matches("@g.us"));
                ToPage::Reply { q, ok: Some(json!({ "code": code })), error: None }
            }
        };
        self.answer_with(id, reply, now);
    }

    /// From now on this number cannot be added to groups.
    pub(crate) fn keep_out_of_groups(&mut self, number: &Number) {
        self.shy.insert(number.clone());
    }

    /// Somebody changes a group on their phone. False when they may not.
    pub(crate) fn change_group_on_phone(
        &mut self,
        author: &Number,
        group: &GroupId,
        change: &str,
        people: &[Number],
        value: Value,
        now: Moment,
    ) -> bool {
        let participants = people.iter().cloned().map(Address::Number).collect();
        let (group, change) = (group.clone(), change.to_owned());
        let wanted = GroupChange { q: 0, group, change, participants, value };
        self.changed_by(author, wanted, now).is_ok()
    }

    fn changed_by(&mut self, author: &Number, wanted: GroupChange, now: Moment) -> Result<Vec<u16>, u16> {
        let GroupChange { group: id, change, participants, value, .. } = wanted;
        let mut group = self.groups.get(&id).cloned().ok_or(NOT_FOUND)?;
        let before = group.participants.clone();
        let leaves = change == "leave";
        if !leaves && !group.admins.contains(&author.lid()) {
            return Err(FORBIDDEN);
        }
        let mut codes = Vec::new();
        let mut changed = Vec::new();
        for address in &participants {
            let number = self.number_of(address).filter(|number| !self.nobody.contains(number));
            let Some(number) = number else {
                codes.push(NOT_FOUND);
                continue;
            };
            let is_member = group.participants.iter().any(|person| person.number == number);
            match change.as_str() {
                "add" if self.shy.contains(&number) => {
                    codes.push(FORBIDDEN);
                    continue;
                }
                "add" if !is_member => group.participants.push(self.person(&number)),
                "remove" => group.participants.retain(|person| person.number != number),
                "promote" if is_member && !group.admins.contains(&number.lid()) => group.admins.push(number.lid()),
                "demote" => group.admins.retain(|admin| *admin != number.lid()),
                _ => {}
            }
            codes.push(OK);
            changed.push(number.lid());
        }
        match (change.as_str(), value) {
            ("subject", Value::String(subject)) => group.subject = subject,
            ("description", Value::String(description)) => group.description = Some(description),
            ("announce", Value::Bool(announce)) => group.announce = announce,
            ("restrict", Value::Bool(restrict)) => group.restrict = restrict,
            ("picture", Value::Object(sizes)) => {
                let url = |size: &str| sizes.get(size).and_then(Value::as_str).unwrap_or_default().to_owned();
                group.picture = Some((url("small"), url("large")));
            }
            ("picture", Value::Null) => group.picture = None,
            ("ephemeral", Value::Number(secs)) => group.ephemeral = secs.as_u64().unwrap_or(0),
            _ => {}
        }
        if leaves {
            group.participants.retain(|person| person.number != *author);
            changed.push(author.lid());
        }
        let action = if leaves { "remove".to_owned() } else { change };
        let deed = (!changed.is_empty()).then(|| GroupDeed {
            action,
            author: author.lid(),
            participants: changed,
            at: now.unix(),
        });
        self.groups.insert(id, group.clone());
        // Whoever has just been removed hears of it, too.
        let mut everybody = group.participants.clone();
        everybody.extend(before.into_iter().filter(|person| !group.participants.contains(person)));
        for person in everybody {
            self.deliver(&person.number, None, &Item::Group { group: group.clone(), deed: deed.clone() });
        }
        Ok(codes)
    }

    fn person(&mut self, number: &Number) -> Person {
        let name = self.introduce(number).name.clone().unwrap_or_default();
        Person { lid: number.lid(), number: number.clone(), name }
    }
}
