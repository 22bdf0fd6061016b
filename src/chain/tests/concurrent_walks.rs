//! Two walks of one chain in every interleaving: the test polls them in every order.

use std::task::{Context, Poll, Waker};

use super::*;

#[test]
fn selected_link_never_changes_in_any_interleaving_of_two_walks() {
    for_each_interleaving(|scripts, schedule| {
        let chain = chain(scripts, true);
        let mut selected = None;
        let results = run(&chain, schedule, |result| {
            assert!(selected.is_none() || selected == chain.selected_name());
            selected = chain.selected_name();
            if let Err(error) = result {
                assert_eq!(
                    error.attempts().is_empty(),
                    selected.is_some(),
                    "not of the selected link"
                );
            }
        });
        for result in results.iter().flatten() {
            assert_eq!(
                Some(result.as_str()),
                selected,
                "another identity than the selected one"
            );
        }
        if selected.is_none() {
            let expected = scripts.map(|script| script.last().map(|outcome| outcome.map(drop)));
            let kinds = results.map(|result| Some(result.map(drop).map_err(|error| error.kind())));
            assert_eq!(kinds, expected);
        }
    });
}

#[test]
fn walk_every_time_is_independent_of_concurrent_walks() {
    for_each_interleaving(|scripts, schedule| {
        let chain = chain(scripts, false);
        let mut last_token = None;
        let results = run(&chain, schedule, |result| {
            if let Ok(token) = result {
                last_token = Some(token.clone());
            }
        });
        let expected = scripts.map(|script| {
            let (index, outcome) = script.iter().enumerate().next_back().unwrap();
            outcome.map(|()| NAMES[index].to_owned())
        });
        assert_eq!(
            results.map(|result| result.map_err(|error| error.kind())),
            expected
        );
        assert_eq!(chain.selected_name(), last_token.as_deref());
    });
}

/// What the links return to the first calls of a walk, up to the one that ends it.
type Script = &'static [Result<(), ErrorKind>];

/// A link that returns its token or its error at the second poll. The walks are known by their
/// scopes; after the first call of a walk it returns its token.
#[derive(Debug)]
struct ScriptedLink {
    name: &'static str,
    outcomes: [Result<(), ErrorKind>; 2],
    calls: [AtomicUsize; 2],
}

#[async_trait]
impl Credential for ScriptedLink {
    async fn token_for(&self, request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        futures::pending!();
        let walk = usize::from(request.scopes() == SCOPES[1]);
        if self.calls[walk].fetch_add(1, Ordering::Relaxed) == 0 {
            self.outcomes[walk].map_err(|kind| Error::new(kind, "scripted"))?;
        }
        Ok(token(self.name))
    }
}

fn chain(scripts: [Script; 2], keeps_selection: bool) -> Chain {
    let links = NAMES.iter().enumerate().map(|(index, &name)| {
        let link = ScriptedLink {
            name,
            outcomes: scripts.map(|script| script.get(index).copied().unwrap_or(Ok(()))),
            calls: Default::default(),
        };
        Link::new(name, Ok(Arc::new(link)))
    });
    Chain::new(links.collect(), None, keeps_selection).unwrap()
}

/// Polls the walk of each bit of `schedule`, and then both until they end.
fn run(
    chain: &Chain,
    schedule: u32,
    mut ended: impl FnMut(&Result<String, Error>),
) -> [Result<String, Error>; 2] {
    let requests = SCOPES.map(TokenRequest::new);
    let mut walks = requests
        .each_ref()
        .map(|request| Box::pin(chain.token(request, |token| token.secret().to_owned())));
    let mut results = [const { None }; 2];
    for poll in 0..4 * POLLS {
        let walk = if poll < 2 * POLLS {
            schedule >> poll & 1
        } else {
            poll & 1
        } as usize;
        if results[walk].is_none()
            && let Poll::Ready(result) = walks[walk].as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            ended(&result);
            results[walk] = Some(result);
        }
    }
    results.map(|result| result.expect("the walk ends within the polls"))
}

fn for_each_interleaving(test: impl Fn([Script; 2], u32)) {
    for first in SCRIPTS {
        for second in SCRIPTS {
            (0..1 << (2 * POLLS))
                .filter(|schedule: &u32| schedule.count_ones() == POLLS)
                .for_each(|schedule| test([first, second], schedule));
        }
    }
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const SCOPES: [&[&str]; 2] = [&["first"], &["second"]];
const UNAVAILABLE: Result<(), ErrorKind> = Err(ErrorKind::Unavailable);
const REJECTED: Result<(), ErrorKind> = Err(ErrorKind::Rejected);

/// All courses of a walk of three links.
const SCRIPTS: [Script; 7] = [
    &[Ok(())],
    &[REJECTED],
    &[UNAVAILABLE, Ok(())],
    &[UNAVAILABLE, REJECTED],
    &[UNAVAILABLE, UNAVAILABLE, Ok(())],
    &[UNAVAILABLE, UNAVAILABLE, REJECTED],
    &[UNAVAILABLE, UNAVAILABLE, UNAVAILABLE],
];

/// One to start, and one for each of the three links and the selected one after them.
const POLLS: u32 = 5;
