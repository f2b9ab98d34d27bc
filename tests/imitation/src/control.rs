//! The control API: what a person with a phone, or WhatsApp itself, would do. One verb per deed.
//!
//! `POST /control/<verb>` with a JSON object answers with a JSON object; 400 says that the request is malformed, 409 that
//! it could not be done, both with `{"error": …}`. `GET /control` lists the verbs.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cloud::{Cloud, ControlError, Restrict};
use crate::faults::SendFault;
use crate::ids::{Address, Number};
use crate::phone::Phone;
use crate::wire::Ban;

/// What `GET /control` answers.
pub(crate) const HELP: &str = "\
POST /control/<verb> with a JSON object. Times are in milliseconds, numbers are E.164 digits.

phones and links
  phone         number, name?                      somebody with a phone
  nobody        number                             this number is not on WhatsApp
  contact       number, contact, name              saves a name in a phone's address book
  qr            within_ms?                         the QR code on display (waits for one)
  scan          number, code?                      scans the code (default: the one on display)
  refuse        code?                              the owner of the phone says no; the page shows the next code
  rotate_qr                                        the next code now
  expire_qr                                        no more codes: the page goes idle
  enter_code    number, code                       enters a pairing code
  unlink        number                             logs all devices out, as the phone does

messages
  receive       number, from, name?, text          a message from somebody else
  type          number, to, text                   typed on the phone itself
  delivered     number, id                         this phone's owner got a message a page sent him
  read          number, id                         ... and read it
  group         owner, members, subject            creates a group
  sent          number?                            every message that left a page, with its counts
  refused                                          every message the cloud refused
  typing                                           every typing state a page showed

faults
  drop          number                             cuts the connection
  silence       number, on                         stops reading and writing, TCP stays
  conflict      number                             another window took over
  outage        on                                 refuses new connections
  acks          server_ms, delivered_ms?, read_ms? when acknowledgements come from now on
  sends         fault, count?, code?, millis?      the next sends: refuse, delay, swallow, cut_after, cut_before
                                                   (no count: every send)
  answers       after_ms                           how long queries take
  restrict      number, until, everybody?, notice? no new chats until that unix second (463)
  lift          number                             ends the restriction
  ban           number, reason, seconds            a temporary ban
  heal                                             ends all faults of acks, sends, answers and the outage

state                                              accounts, devices, groups, connections
";

/// A request to the far end.
#[derive(Debug, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Command {
    Phone { number: Number, name: Option<String> },
    Nobody { number: Number },
    Contact { number: Number, contact: Number, name: String },
    Qr { within_ms: Option<u64> },
    Scan { number: Number, code: Option<String> },
    Refuse { code: Option<String> },
    RotateQr {},
    ExpireQr {},
    EnterCode { number: Number, code: String },
    Unlink { number: Number },
    Receive { number: Number, from: Number, name: Option<String>, text: String },
    Type { number: Number, to: Address, text: String },
    Delivered { number: Number, id: String },
    Read { number: Number, id: String },
    Group { owner: Number, members: Vec<Number>, subject: String },
    Sent { number: Option<Number> },
    Refused {},
    Typing {},
    Drop { number: Number },
    Silence { number: Number, on: bool },
    Conflict { number: Number },
    Outage { on: bool },
    Acks { server_ms: u64, delivered_ms: Option<u64>, read_ms: Option<u64> },
    Sends { fault: String, count: Option<usize>, code: Option<u16>, millis: Option<u64> },
    Answers { after_ms: u64 },
    Restrict { number: Number, until: u64, everybody: Option<bool>, notice: Option<bool> },
    Lift { number: Number },
    Ban { number: Number, reason: u16, seconds: u64 },
    Heal {},
    State {},
}

/// Reads a request.
pub(crate) fn parse(verb: &str, mut fields: Map<String, Value>) -> Result<Command, serde_json::Error> {
    fields.insert("verb".to_owned(), verb.into());
    serde_json::from_value(Value::Object(fields))
}

/// Does what was asked, through the same functions a Rust test calls.
pub(crate) async fn perform(cloud: &Cloud, command: Command) -> Result<Value, ControlError> {
    let phone = |number: Number| Phone::of(cloud, number);
    let done = json!({ "ok": true });
    Ok(match command {
        Command::Phone { number, name } => {
            cloud.change(|state, _| {
                let account = state.introduce(&number);
                account.name = name.or_else(|| account.name.take());
            });
            json!({ "number": number, "lid": number.lid() })
        }
        Command::Nobody { number } => {
            cloud.change(|state, _| state.remove_number(&number));
            done
        }
        Command::Contact { number, contact, name } => {
            phone(number).save_contact(contact, &name);
            done
        }
        Command::Qr { within_ms } => {
            let within = within_ms.map_or(crate::WAIT, Duration::from_millis);
            json!({ "code": displayed_qr(cloud, None, within).await? })
        }
        Command::Scan { number, code } => {
            let code = displayed_qr(cloud, code, crate::WAIT).await?;
            json!({ "device": phone(number).scan(&code).await? })
        }
        Command::Refuse { code } => {
            let code = displayed_qr(cloud, code, crate::WAIT).await?;
            cloud.change(|state, now| state.refuse(&code, now))?;
            done
        }
        Command::RotateQr {} => {
            cloud.change(|state, now| state.rotate_qr(now));
            done
        }
        Command::ExpireQr {} => {
            cloud.change(|state, now| state.expire_qr(now));
            done
        }
        Command::EnterCode { number, code } => json!({ "device": phone(number).enter_code(&code).await? }),
        Command::Unlink { number } => {
            phone(number).unlink();
            done
        }
        Command::Receive { number, from, name, text } => {
            let name = name.unwrap_or_else(|| from.to_string());
            json!({ "id": phone(number).receive_text(from, &name, &text) })
        }
        Command::Type { number, to, text } => json!({ "id": phone(number).send_text(to, &text) }),
        Command::Delivered { number, id } => {
            phone(number).confirm_delivery(&id)?;
            done
        }
        Command::Read { number, id } => {
            phone(number).read(&id)?;
            done
        }
        Command::Group { owner, members, subject } => {
            json!({ "id": cloud.change(|state, _| state.create_group(&subject, &owner, &members)) })
        }
        Command::Sent { number } => cloud.look(|state| {
            let sent = state.record.departures().iter();
            json!({ "sent": sent.filter(|departure| number.as_ref().is_none_or(|from| departure.from == *from)).collect::<Vec<_>>() })
        }),
        Command::Refused {} => cloud.look(|state| json!({ "refused": state.record.refusals })),
        Command::Typing {} => cloud.look(|state| json!({ "typing": state.record.chatstates })),
        Command::Drop { number } => {
            phone(number).drop_connection()?;
            done
        }
        Command::Silence { number, on } => {
            phone(number).set_silent(on)?;
            done
        }
        Command::Conflict { number } => {
            phone(number).conflict()?;
            done
        }
        Command::Outage { on } => {
            cloud.change(|state, _| state.faults.refuse_connections = on);
            done
        }
        Command::Acks { server_ms, delivered_ms, read_ms } => {
            let acks = crate::options::AckTimes {
                server: Duration::from_millis(server_ms),
                delivered: delivered_ms.map(Duration::from_millis),
                read: read_ms.map(Duration::from_millis),
            };
            cloud.change(|state, _| state.faults.acks = acks);
            done
        }
        Command::Sends { fault, count, code, millis } => {
            let fault = send_fault(&fault, code, millis)?;
            cloud.change(|state, _| match count {
                Some(count) => state.faults.next_sends(fault, count),
                None => state.faults.every_send = Some(fault),
            });
            done
        }
        Command::Answers { after_ms } => {
            cloud.change(|state, _| state.faults.answer_after = Duration::from_millis(after_ms));
            done
        }
        Command::Restrict { number, until, everybody, notice } => {
            let restriction = Restrict { until, everybody: everybody.unwrap_or(false), notice: notice.unwrap_or(false) };
            phone(number).restrict(restriction);
            done
        }
        Command::Lift { number } => {
            phone(number).lift_restriction();
            done
        }
        Command::Ban { number, reason, seconds } => {
            cloud.change(|state, now| state.ban(&number, Ban { reason, seconds }, now));
            done
        }
        Command::Heal {} => {
            cloud.change(|state, _| state.faults.clear());
            done
        }
        Command::State {} => cloud.look(crate::cloud::State::describe),
    })
}

/// The code that was named, or the one on display.
async fn displayed_qr(cloud: &Cloud, code: Option<String>, within: Duration) -> Result<String, ControlError> {
    match code {
        Some(code) => Ok(code),
        None => cloud.wait_for("a QR code", within, |state| state.qr_codes().pop()).await,
    }
}

fn send_fault(name: &str, code: Option<u16>, millis: Option<u64>) -> Result<SendFault, ControlError> {
    match name {
        "refuse" => Ok(SendFault::Refuse { code: code.unwrap_or(500) }),
        "delay" => Ok(SendFault::Delay { millis: millis.unwrap_or(5_000) }),
        "swallow" => Ok(SendFault::Swallow),
        "cut_after" => Ok(SendFault::CutAfter),
        "cut_before" => Ok(SendFault::CutBefore),
        _ => Err(ControlError::NoSuchFault(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_verb() {
        let unknown = serde_json::from_value::<Command>(json!({ "verb": "?" })).expect_err("there is no such verb");
        let message = unknown.to_string();
        let verbs = message.split('`').skip(3).step_by(2);
        let mut count = 0;
        for verb in verbs {
            assert!(HELP.lines().any(|line| line.split_whitespace().next() == Some(verb)), "{verb} is not in the help");
            count += 1;
        }
        assert!(count > 20, "the verbs were not found in {message:?}");
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let command = json!({ "verb": "unlink", "nummer": "4915112345678" });
        assert!(serde_json::from_value::<Command>(command).is_err());
    }
}
