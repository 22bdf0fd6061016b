//! The pages of the folder `docs`, for this version.
//!
//! | start | |
//! | --- | --- |
//! | [`set_up`] | From an empty subscription to a running pod. |
//!
//! | tasks | |
//! | --- | --- |
//! | [`migration`] | From `azure_identity`, a client secret or a connection string. |
//! | [`testing`], [`emulator`] | Test a program without a cloud. |
//! | [`operations`] | Logs, metrics, alerts, probes, container images. |
//! | [`integrations`] | Tokens for `object_store`, OpenDAL, PostgreSQL, Redis. |
//! | [`rejected_tokens`] | Get another token when a service rejects one. |
//! | [`identity_bindings`] | Use one identity in more than 20 clusters. |
//! | [`assertion_sources`] | Get tokens in CI, with SPIFFE, for other service accounts. |
//!
//! | reference | |
//! | --- | --- |
//! | [`configuration`] | Features, variables, builder options, tenants, clouds, proxies, TLS. |
//! | [`default_credential`] | Which credential `DefaultAzureCredential` selects. |
//! | [`troubleshooting`] | The cause, owner and fix of each error. |
//! | [`lint_rules`] | What `entra-workload lint` finds, and the fix. |
//! | [`changelog`] | What changed. |
//!
//! | background | |
//! | --- | --- |
//! | [`how_a_token_lives`] | Refresh, outage, cooldown, clocks, limits. |
//! | [`comparison`] | This crate and `azure_identity`. |
//! | [`design`] | Decisions and their reasons. |
//! | [`security`] | What a vulnerability is, and how to report one. |
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
#[doc = include_str!("../docs/lint-rules.md")]
pub mod lint_rules {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/migration.md")]
pub mod migration {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/operations.md")]
pub mod operations {}

#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/rejected-tokens.md")]
pub mod rejected_tokens {}

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
