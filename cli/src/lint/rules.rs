//! One rule a file, in the order of their codes.

mod annotation_missing;
mod annotation_misspelt;
mod annotation_outside;
mod audience;
mod binding_denied;
mod binding_without_role;
mod chained;
mod client_id_not_guid;
mod client_secret;
mod duplicate;
mod event;
mod expiration;
mod issuer;
mod issuer_literal;
mod kube_system;
mod label_missing;
mod label_on_workload;
mod label_value;
mod management_role;
mod network_policy;
mod no_service_account;
mod oidc_issuer;
mod other_identity;
mod other_namespace;
mod parallel;
mod pod_identity;
mod pod_not_changed;
mod pod_out_of_date;
mod principal_id;
mod proxy;
mod proxy_sidecar;
mod skipped_container;
mod sub_path;
mod subject;
mod token_file;
mod token_secret;
mod too_many;
mod variable_differs;
mod volume_audience;
mod volume_lifetime;
mod volume_path;
mod webhook_down;
mod webhook_ignored;
mod webhook_missing;
mod webhook_twice;

use super::rule::Rule;

pub(super) const RULES: &[Rule] = &[
    label_on_workload::RULE,
    label_missing::RULE,
    label_value::RULE,
    no_service_account::RULE,
    other_namespace::RULE,
    annotation_missing::RULE,
    annotation_misspelt::RULE,
    client_id_not_guid::RULE,
    expiration::RULE,
    volume_audience::RULE,
    sub_path::RULE,
    variable_differs::RULE,
    skipped_container::RULE,
    client_secret::RULE,
    pod_identity::RULE,
    proxy::RULE,
    binding_without_role::RULE,
    kube_system::RULE,
    network_policy::RULE,
    token_secret::RULE,
    annotation_outside::RULE,
    token_file::RULE,
    volume_lifetime::RULE,
    volume_path::RULE,
    proxy_sidecar::RULE,
    oidc_issuer::RULE,
    subject::RULE,
    issuer::RULE,
    audience::RULE,
    parallel::RULE,
    principal_id::RULE,
    management_role::RULE,
    duplicate::RULE,
    too_many::RULE,
    chained::RULE,
    other_identity::RULE,
    issuer_literal::RULE,
    webhook_missing::RULE,
    webhook_twice::RULE,
    webhook_ignored::RULE,
    webhook_down::RULE,
    pod_not_changed::RULE,
    event::RULE,
    pod_out_of_date::RULE,
    binding_denied::RULE,
];
