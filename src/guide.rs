//! Guides and background, version by version: the pages of the folder `docs`.
//!
//! | page | answers |
//! | --- | --- |
//! | [`set_up`] | How do I get from an empty subscription to a running pod? |
//! | [`configuration`] | Which variables and options are there? Proxies, TLS, clouds? |
//! | [`continuous_access_evaluation`] | What happens if a service rejects a token? |
//! | [`identity_bindings`] | How do I use one identity in more than 20 clusters? |
//! | [`integrations`] | How do `object_store`, OpenDAL, PostgreSQL and Redis get tokens? |
//! | [`assertion_sources`] | How do I get tokens in CI, with SPIFFE, for other service accounts? |
//! | [`features`] | What does each feature cost in crates, build time, size and start-up? |
//! | [`default_credential`] | Which identity is used where, and what does the error say? |
//! | [`how_a_token_lives`] | When is a token refreshed? What happens in an outage? |
//! | [`troubleshooting`] | What does this error mean, and who fixes it? |
//! | [`operations`] | What should I watch and alert on? Which probes, which container image? |
//! | [`migration`] | How do I move from `azure_identity`, a client secret or a connection string? |
//! | [`testing`] | How do I test my program without a cloud? |
//! | [`emulator`] | Which seeds, states and error codes does the emulator have? |
//! | [`comparison`] | How does this crate compare? |
//! | [`design`] | Why is it built like this? |
//! | [`security`] | What is a vulnerability, and how do I report one? |
//! | [`changelog`] | What changed? |
#![expect(
    clippy::doc_markdown,
    reason = "prose, with names such as NetworkPolicy that are no code"
)]

// In a page, the first definition of a link wins. `rustdoc-links.md` comes first, so within rustdoc the
// links between pages lead to pages of the same version, and rustdoc checks them.

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/assertion-sources.md")]
pub mod assertion_sources {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../CHANGELOG.md")]
pub mod changelog {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/comparison.md")]
pub mod comparison {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/configuration.md")]
pub mod configuration {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/continuous-access-evaluation.md")]
pub mod continuous_access_evaluation {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/features.md")]
pub mod features {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/default-credential.md")]
pub mod default_credential {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../DESIGN.md")]
pub mod design {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/emulator.md")]
pub mod emulator {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/how-a-token-lives.md")]
pub mod how_a_token_lives {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/identity-bindings.md")]
pub mod identity_bindings {}

// Its code needs the clients of databases: the package `consumers` compiles it.
#[doc = include_str!("../docs/rustdoc-links.md")]
#[cfg_attr(not(doctest), doc = include_str!("../docs/integrations.md"))]
pub mod integrations {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/migration.md")]
pub mod migration {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/operations.md")]
pub mod operations {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../SECURITY.md")]
pub mod security {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/set-up.md")]
pub mod set_up {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/troubleshooting.md")]
pub mod troubleshooting {}
