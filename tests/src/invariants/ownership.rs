//! One owner at a time: fences strictly increase, and each belongs to one worker.

use std::collections::BTreeMap;

use crate::fleet::{Entry, SessionRow};

/// How many ownerships there were, and what is wrong with them. Epoch 0 stands for answers of workers that own nothing.
pub(super) fn judge(entries: &[Entry], rows: &[SessionRow]) -> (usize, Vec<String>) {
    let told = entries.iter().map(|entry| {
        let envelope = &entry.envelope;
        (envelope.session_id.as_str(), envelope.epoch, envelope.worker_id.as_str())
    });
    let fences: BTreeMap<&str, u64> = rows.iter().map(|row| (row.session_id.as_str(), row.fence)).collect();
    judge_told(told.filter(|(_, epoch, _)| *epoch > 0), &fences)
}

fn judge_told<'a>(
    told: impl Iterator<Item = (&'a str, u64, &'a str)>,
    fences: &BTreeMap<&str, u64>,
) -> (usize, Vec<String>) {
    let mut owners: BTreeMap<(&str, u64), &str> = BTreeMap::new();
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    let mut broken = Vec::new();
    for (session, epoch, worker) in told {
        let owner = *owners.entry((session, epoch)).or_insert_with(|| {
            let last = newest.insert(session, epoch).unwrap_or(0);
            if epoch <= last {
                broken.push(format!("{session}: epoch {epoch} was first told after epoch {last}"));
            }
            worker
        });
        if owner != worker {
            broken.push(format!("{session}: epoch {epoch} has two owners, {owner} and {worker}"));
        }
    }
    for (session, epoch) in newest {
        let fence = fences.get(session).copied().unwrap_or(0);
        if fence < epoch {
            broken.push(format!("{session}: epoch {epoch} was told, and the database knows {fence} only"));
        }
    }
    (owners.len(), broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_increase_and_have_one_owner_each() {
        let fences = BTreeMap::from([("s1", 3)]);
        for (told, fine) in [
            (vec![("s1", 1, "a"), ("s1", 1, "a"), ("s1", 2, "b"), ("s1", 3, "a")], true),
            (vec![("s1", 1, "a"), ("s1", 3, "b")], true), // an owner that told nothing
            (vec![("s1", 2, "a"), ("s1", 1, "b")], false),
            (vec![("s1", 1, "a"), ("s1", 1, "b")], false),
            (vec![("s1", 4, "a")], false),
        ] {
            let (_, broken) = judge_told(told.iter().copied(), &fences);
            assert_eq!(broken.is_empty(), fine, "{told:?}: {broken:?}");
        }
    }
}
