use std::collections::HashMap;
use std::path::Path;

/// Finds service accounts without a walk over all of them: there can be thousands of files.
#[derive(Default)]
pub(super) struct AccountIndex<'a> {
    /// The first account of a name in a file or below a folder: in any namespace, or in this one or in none.
    first: HashMap<(&'a str, &'a Path, Scope<'a>), usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Scope<'a> {
    Any,
    In(Option<&'a str>),
}

impl<'a> AccountIndex<'a> {
    /// * `index`: greater than those before.
    pub(super) fn add(&mut self, index: usize, name: &'a str, namespace: Option<&'a str>, file: &'a Path) {
        for place in places(file) {
            for scope in [Scope::Any, Scope::In(namespace)] {
                self.first.entry((name, place, scope)).or_insert(index);
            }
        }
    }

    /// The nearest account to a file, since folders can stand for environments; of several the first one.
    ///
    /// A namespace that is not given matches every one.
    pub(super) fn nearest(&self, name: &str, namespace: Option<&str>, file: &Path) -> Option<usize> {
        let scopes: &[Scope<'_>] = match namespace {
            None => &[Scope::Any],
            Some(_) => &[Scope::In(namespace), Scope::In(None)],
        };
        places(file).find_map(|place| {
            let found = scopes
                .iter()
                .filter_map(|scope| self.first.get(&(name, place, *scope)));
            found.copied().min()
        })
    }

    /// The first account of all files.
    pub(super) fn first(&self, name: &str, namespace: Option<&str>) -> Option<usize> {
        self.nearest(name, namespace, Path::new(""))
    }
}

/// A file, its folders from the inside out, and what all files are in. Far inside, all folders count as one.
fn places(file: &Path) -> impl Iterator<Item = &Path> {
    let depth = file.ancestors().count();
    let places = file.ancestors().skip(depth.saturating_sub(DEEPEST));
    places.chain([Path::new("")])
}

/// Far deeper than environments are; each account has an entry for each of the folders around it.
const DEEPEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_account_is_found_in_the_namespace() {
        let mut index = AccountIndex::default();
        for (number, (namespace, file)) in [
            (Some("shop"), "dev/sa.yaml"),
            (Some("shop"), "prod/sa.yaml"),
            (None, "prod/base/sa.yaml"),
            (Some("other"), "/abs/sa.yaml"),
        ]
        .into_iter()
        .enumerate()
        {
            index.add(number, "orders", namespace, Path::new(file));
        }
        for (namespace, file, expected) in [
            (Some("shop"), "dev/app.yaml", Some(0)),
            (Some("shop"), "prod/app.yaml", Some(1)),
            (Some("shop"), "prod/base/app.yaml", Some(2)),
            (Some("shop"), "test/app.yaml", Some(0)),
            (Some("shop"), "/abs/app.yaml", Some(0)),
            (Some("other"), "prod/app.yaml", Some(2)),
            (Some("other"), "/abs/sa.yaml", Some(3)),
            (None, "dev/app.yaml", Some(0)),
            (None, "elsewhere.yaml", Some(0)),
        ] {
            assert_eq!(
                index.nearest("orders", namespace, Path::new(file)),
                expected,
                "{namespace:?} {file}"
            );
        }
        assert_eq!(index.nearest("billing", None, Path::new("dev/app.yaml")), None);
    }

    /// A path can have two thousand folders, and a file hundreds of thousands of accounts.
    #[test]
    fn account_far_inside_has_few_entries_and_is_found() {
        let mut index = AccountIndex::default();
        let inside = |start: &str| format!("{start}/{}sa.yaml", "a/".repeat(1000));
        let (dev, prod) = (inside("dev"), inside("prod"));
        index.add(0, "orders", None, Path::new(&dev));
        index.add(1, "orders", None, Path::new(&prod));
        assert!(index.first.len() < 150, "{}", index.first.len());
        for (file, expected) in [(&dev, 0), (&prod, 1)] {
            assert_eq!(index.nearest("orders", None, Path::new(file)), Some(expected));
        }
    }
}
