//! Lint in a repository of strangers: nothing outside the tree is written, and no text of theirs acts on a terminal or
//! on a CI system, or hides a finding.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const FORMATS: [&str; 4] = ["text", "json", "sarif", "github"];

#[cfg(unix)]
mod files {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn fix_of_a_name_that_is_not_utf8_leaves_other_files_alone() {
        let (folder, outside) = (folder(), folder());
        let target = outside.path().join("bashrc");
        fs::write(&target, "original").unwrap();
        symlink(&target, folder.path().join("a\u{fffd}.yaml")).unwrap();
        symlink(&target, folder.path().join(r"a\xff.yaml")).unwrap();
        let file = folder.path().join(OsStr::from_bytes(b"a\xff.yaml"));
        fs::write(&file, fixable()).unwrap();
        let output = lint(folder.path(), &["--fix", "."]);
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(fs::read_to_string(&target).unwrap(), "original");
        assert_ne!(fs::read_to_string(&file).unwrap(), fixable());
    }

    #[test]
    fn fix_writes_no_file_if_one_of_them_is_a_link() {
        for is_hard in [false, true] {
            let (folder, outside) = (folder(), folder());
            let target = outside.path().join("target.yaml");
            fs::write(&target, fixable()).unwrap();
            let (first, link) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
            fs::write(&first, fixable()).unwrap();
            if is_hard {
                fs::hard_link(&target, &link).unwrap();
            } else {
                symlink(&target, &link).unwrap();
            }
            let output = lint(folder.path(), &["--fix", "a.yaml", "b.yaml"]);
            assert_eq!(output.status.code(), Some(64));
            assert!(
                text(&output).contains("b.yaml: no file changed: "),
                "{}",
                text(&output)
            );
            for file in [&target, &first] {
                assert_eq!(fs::read_to_string(file).unwrap(), fixable());
            }
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn fix_through_a_link_to_a_folder_is_refused() {
        let (folder, outside) = (folder(), folder());
        let target = outside.path().join("in/target.yaml");
        fs::create_dir(outside.path().join("in")).unwrap();
        fs::write(&target, fixable()).unwrap();
        symlink(outside.path(), folder.path().join("deploy")).unwrap();
        for name in [
            "deploy",
            "deploy/",
            "./deploy/.",
            "deploy/in",
            "deploy/in/target.yaml",
        ] {
            let output = lint(folder.path(), &["--fix", name]);
            assert_eq!(output.status.code(), Some(64), "{name}: {}", text(&output));
            assert!(
                text(&output).contains("deploy is a symbolic link"),
                "{}",
                text(&output)
            );
            assert_eq!(fs::read_to_string(&target).unwrap(), fixable(), "{name}");
        }
        assert!(lint(outside.path(), &["--fix", "./in"]).status.success());
    }

    #[test]
    fn fix_replaces_the_file_and_keeps_its_mode() {
        let folder = folder();
        let file = folder.path().join("a.yaml");
        fs::write(&file, fixable()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&file).unwrap();
        assert!(lint(folder.path(), &["--fix", "."]).status.success());
        let after = fs::metadata(&file).unwrap();
        assert_ne!(before.ino(), after.ino());
        assert_eq!((before.mode(), before.uid()), (after.mode(), after.uid()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn pipe_in_a_folder_is_noted_and_a_named_one_is_an_error() {
        let folder = folder();
        let status = Command::new("mkfifo").arg(folder.path().join("a.yaml")).status();
        assert!(status.unwrap().success());
        fs::write(folder.path().join("b.yaml"), bad()).unwrap();
        let output = lint(folder.path(), &["."]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output).contains("a.yaml: not read: not a regular file"),
            "{}",
            text(&output)
        );
        assert_eq!(lint(folder.path(), &["a.yaml"]).status.code(), Some(64));
    }

    /// File names with control characters, logging commands and bytes that are not UTF-8.
    #[test]
    fn hostile_file_names_are_escaped_in_every_format() {
        let folder = folder();
        for (index, part) in HOSTILE.iter().enumerate() {
            fs::write(folder.path().join(format!("{index}{part}.yaml")), bad()).unwrap();
            fs::write(folder.path().join(format!("{part}{index}broken.yaml")), "a: [").unwrap();
        }
        fs::write(folder.path().join(OsStr::from_bytes(b"\xff\x9b\x1b.yaml")), bad()).unwrap();
        for format in FORMATS {
            let output = lint(folder.path(), &["--format", format, "."]);
            assert_eq!(output.status.code(), Some(1));
            assert_safe(&output, format);
        }
    }

    #[test]
    fn sarif_paths_are_relative_uris_in_percent_encoding() {
        let folder = folder();
        fs::create_dir(folder.path().join("in")).unwrap();
        let names: [(&[u8], &str); 3] = [
            (b"c:d.yaml", "c%3Ad.yaml"),
            (b"a b#%.yaml", "a%20b%23%25.yaml"),
            (b"\xff.yaml", "%FF.yaml"),
        ];
        let own = folder.path().canonicalize().unwrap();
        for (name, uri) in names {
            let name = Path::new(OsStr::from_bytes(name));
            fs::write(own.join("in").join(name), bad()).unwrap();
            let absolute = own.join("in").join(name);
            for path in [
                Path::new("in").join(name),
                Path::new("in/../in").join(name),
                absolute,
            ] {
                let output = command(&own)
                    .args(["--format", "sarif"])
                    .arg(path)
                    .output()
                    .unwrap();
                let location = &sarif(&output)["results"][0]["locations"][0]["physicalLocation"];
                assert_eq!(location["artifactLocation"]["uri"], format!("in/{uri}"));
            }
        }
        let output = lint(&own.join("in"), &["--format", "sarif", "../in/../in/c:d.yaml"]);
        let location = &sarif(&output)["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(location["artifactLocation"]["uri"], "c%3Ad.yaml");
        let outside = super::folder();
        let path = own.join("in/c:d.yaml");
        let output = lint(outside.path(), &["--format", "sarif", path.to_str().unwrap()]);
        let location = &sarif(&output)["results"][0]["locations"][0]["physicalLocation"];
        let uri = location["artifactLocation"]["uri"].as_str().unwrap();
        assert!(
            uri.starts_with("file:///") && uri.ends_with("/in/c%3Ad.yaml"),
            "{uri}"
        );
    }
}

/// Decoded values of YAML come into messages: the namespace of EW605, and the annotation of EW612.
#[test]
fn hostile_values_are_escaped_in_every_format() {
    let json = |text: &str| serde_json::to_string(text).unwrap();
    for part in HOSTILE {
        let client = "azure.workload.identity/client-id: ";
        let (before, rest) = fixture("EW612").split_once(client).map(owned).unwrap();
        let (_, after) = rest.split_once('\n').unwrap();
        let of_annotation = format!("{before}{client}{}\n{after}", json(part));
        let (before, after) = fixture("EW605").split_once("namespace: ").map(owned).unwrap();
        let (_, after) = after.split_once('\n').unwrap();
        let of_namespace = format!("{before}namespace: {}\n{after}", json(part));
        for (code, manifest) in [("EW612", of_annotation), ("EW605", of_namespace)] {
            for format in FORMATS {
                let output = with_input(&["--format", format], &manifest);
                assert!(text(&output).contains(code), "{code} {format}: {}", text(&output));
                assert_safe(&output, format);
            }
        }
    }
}

/// The line of a finding is shown as it is in the file.
#[test]
fn hostile_characters_of_a_shown_line_are_escaped() {
    for part in HOSTILE
        .iter()
        .filter(|part| !part.contains(['\n', '\r', '\u{7}', '\u{1b}', '\u{feff}']))
    {
        let manifest = bad().replace("\"true\"\nspec", &format!("\"true\" # {part}\nspec"));
        let output = with_input(&[], &manifest);
        assert!(text(&output).contains("EW601"), "{}", text(&output));
        assert_safe(&output, "text");
    }
}

#[test]
fn messages_of_github_encode_percent_signs_and_properties() {
    let folder = folder();
    let name = "a%0A,line=9::b.yaml";
    fs::write(folder.path().join(name), bad()).unwrap();
    let shown = text(&lint(folder.path(), &["--format", "github", "."]));
    assert!(shown.contains("a%250A%2Cline=9%3A%3Ab.yaml,line="), "{shown}");
    assert_eq!(shown.matches("::").count(), 2, "{shown}");
}

#[test]
fn wrong_arguments_are_escaped() {
    for part in HOSTILE.iter().filter(|part| !part.contains('\0')) {
        let output = lint(Path::new("."), &["--format", part]);
        assert_eq!(output.status.code(), Some(64));
        assert_safe(&output, "text");
    }
}

/// A kustomization that nothing can build, or that builds other objects, changes nothing.
#[test]
fn unused_kustomization_hides_no_finding() {
    let other = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: other\n";
    let deployment = bad().replace("orders", "billing");
    let patch = "patches:\n- path: ../deploy/app.yaml\n";
    let of_all = "commonLabels:\n  azure.workload.identity/use: 'true'\n";
    for kustomization in [
        patch.to_owned(),
        format!("resources:\n- missing.yaml\n{patch}"),
        format!("resources:\n- other.yaml\n{patch}"),
        format!("resources:\n- https://example.com/base?ref=v1\n{patch}"),
        format!("resources:\n- billing.yaml\n{patch}  target:\n    kind: Deployment\n"),
        format!(
            "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\nresources:\n- ../deploy\n{patch}"
        ),
        of_all.to_owned(),
        format!("resources:\n- other.yaml\n{of_all}"),
        format!("kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\n{of_all}"),
    ] {
        for code in ["EW601", "EW604"] {
            let folder = folder();
            let write = |name: &str, text: &str| {
                let file = folder.path().join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            };
            write("deploy/app.yaml", &fixture(code));
            write("unused/other.yaml", other);
            write(
                "unused/billing.yaml",
                &deployment.replace("use: \"true\"", "unused: \"\""),
            );
            write("unused/kustomization.yaml", &kustomization);
            let shown = text(&lint(folder.path(), &["."]));
            assert!(shown.contains(&format!("[{code}]")), "{kustomization}: {shown}");
        }
    }
}

#[test]
fn kustomization_that_cannot_be_built_hides_no_finding() {
    let named = "kind: Deployment\n    metadata:\n      name: orders\n";
    let inside = "resources:\n- ../deploy\n";
    let of_all = "target:\n    kind: Deployment\n";
    let labels = "labels:\n- pairs:\n    azure.workload.identity/use: 'true'\n";
    for (kustomization, is_built) in [
        (
            format!("resources:\n- ../deploy/app.yaml\npatches:\n- patch: |\n    {named}"),
            false,
        ),
        (
            format!("{inside}patches:\n- {of_all}  path: missing.yaml\n"),
            false,
        ),
        (
            format!("{inside}patches:\n- {of_all}  path: broken.yaml\n"),
            false,
        ),
        (format!("{inside}patches:\n- {of_all}  path: text.yaml\n"), false),
        (format!("{inside}patches:\n- path: nameless.yaml\n"), false),
        (
            format!("{inside}patches:\n- {of_all}  path: ../deploy/nameless.yaml\n"),
            false,
        ),
        (
            format!("{inside}patches:\n- {of_all}  patch: |\n    text\n"),
            false,
        ),
        (format!("{inside}patches:\n- {of_all}  patch: text\n"), false),
        (format!("{inside}patches:\n- patch: |\n    a: b\n"), false),
        (format!("{inside}patches:\n- {of_all}"), false),
        (
            format!("resources:\n- ../plain\n- ../deploy\npatches:\n- patch: |\n    {named}"),
            false,
        ),
        (
            format!("kind: ConfigMap\n{inside}patches:\n- patch: |\n    {named}"),
            false,
        ),
        (
            format!("apiVersion: 1\n{inside}patches:\n- patch: |\n    {named}"),
            false,
        ),
        (
            format!("resources:\n- ../wrong\n- ../deploy\npatches:\n- patch: |\n    {named}"),
            false,
        ),
        (
            format!("resources:\n- ../twice\n- ../deploy\npatches:\n- patch: |\n    {named}"),
            false,
        ),
        (
            format!("resources:\n- ../deploy\n- ../deploy/\npatches:\n- patch: |\n    {named}"),
            false,
        ),
        (format!("{inside}{labels}"), false),
        (format!("{inside}{labels}  includeTemplates: false\n"), false),
        (format!("{inside}{labels}  includeTemplates: true\n"), true),
        (format!("{inside}{labels}  includeSelectors: true\n"), true),
        (format!("{inside}patches:\n- patch: |\n    {named}"), true),
        (
            format!("{inside}patches:\n- {of_all}  path: nameless.yaml\n"),
            true,
        ),
        (format!("{inside}patches:\n- {of_all}  path: list.json\n"), true),
        (format!("{inside}patches:\n- {of_all}  patch: '[{{}}]'\n"), true),
    ] {
        let folder = folder();
        for name in ["deploy", "evil", "plain", "twice", "wrong"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for (name, text) in [
            ("deploy/app.yaml", fixture("EW604").as_str()),
            ("deploy/kustomization.yaml", "resources:\n- app.yaml\n"),
            ("deploy/nameless.yaml", "a: b\n"),
            ("evil/broken.yaml", "a: ["),
            ("evil/text.yaml", "text"),
            ("evil/nameless.yaml", "a: b\n"),
            ("evil/list.json", "[{}]"),
            ("evil/kustomization.yaml", &kustomization),
            (
                "twice/a.yaml",
                "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n",
            ),
            ("twice/kustomization.yaml", "resources: [a.yaml, ./a.yaml]\n"),
            ("wrong/kustomization.yaml", "kind: ConfigMap\n"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let shown = text(&lint(folder.path(), &["."]));
        assert_eq!(shown.contains("[EW604]"), !is_built, "{kustomization}: {shown}");
    }
}

/// Compared one by one, they would take hours.
#[test]
fn kustomization_names_a_file_of_many_patches_many_times() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let objects = |kind: &str| {
        let object = |index| format!("---\nkind: {kind}\nmetadata: {{name: a{index}}}\n");
        (0..3000).map(object).collect::<String>()
    };
    write("objects.yaml", &format!("{}---\n{}", objects("ConfigMap"), bad()));
    write("p.yaml", &objects("Secret"));
    let patches = "- path: p.yaml\n".repeat(3000);
    write(
        "kustomization.yaml",
        &format!("resources:\n- objects.yaml\npatches:\n{patches}"),
    );
    let shown = text(&lint(folder.path(), &["."]));
    assert!(shown.contains("[EW601]"), "{shown}");
}

/// Read each time, the patch of 10 kB would take minutes.
#[test]
fn kustomization_repeats_a_patch_with_aliases() {
    let folder = folder();
    let value = |index| format!("a{index}: 1, ");
    let values: String = (0..1500).map(value).collect();
    let patch = format!(
        "kind: A\n    metadata: {{name: a}}\n    x: &x {{{values}}}\n    y: [{}]\n",
        "*x, ".repeat(40)
    );
    let kustomization = |repeated: &str| format!("patches:\n- patch: &p |\n    {patch}{repeated}");
    let once = kustomization("");
    let repeated = kustomization(&"- patch: *p\n".repeat(90));
    assert!(once.len() > 10_000 && repeated.len() < 20_000);
    let write = |name: &str, text: &str| {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("kustomization.yaml"), text).unwrap();
    };
    (0..20).for_each(|index| write(&format!("a{index}"), &repeated));
    fs::write(folder.path().join("bad.yaml"), bad()).unwrap();
    let shown = text(&lint(folder.path(), &["."]));
    assert!(shown.contains("[EW601]"), "{shown}");
}

/// Kustomize looks for three names only, reads one document, and refuses a folder with two of them.
#[test]
fn only_a_file_that_kustomize_reads_is_a_kustomization() {
    let patches = "resources:\n- app.yaml\npatches:\n- target: {kind: Deployment}\n  patch: '[{}]'\n";
    let whole = format!("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n{patches}");
    let second = format!("a: b\n---\n{whole}");
    for (files, is_built) in [
        (vec![("kustomization.yaml", &whole)], true),
        (vec![("kustomization.yml", &whole)], true),
        (vec![("Kustomization", &whole)], true),
        (vec![("other.yaml", &whole)], false),
        (vec![("Kustomization.yaml", &whole)], false),
        (vec![("kustomization.tf.yaml", &whole)], false),
        (vec![("kustomization.yaml", &second)], false),
        (
            vec![("kustomization.yaml", &whole), ("Kustomization", &whole)],
            false,
        ),
    ] {
        let folder = folder();
        fs::write(folder.path().join("app.yaml"), fixture("EW604")).unwrap();
        for (name, text) in &files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let shown = text(&lint(folder.path(), &["."]));
        assert_eq!(shown.contains("[EW604]"), !is_built, "{files:?}: {shown}");
    }
}

/// Kustomize refuses all of them.
#[test]
fn kustomization_in_a_circle_or_of_the_wrong_kind_hides_no_finding() {
    let component = "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\n";
    for (overlay, other, is_built) in [
        (
            "resources: [../other, ../app.yaml]",
            "resources: [../overlay]",
            false,
        ),
        (
            "resources: [../other, ../deploy]",
            "resources: [../overlay]",
            false,
        ),
        ("resources: [../other, ../deploy]", "resources: []", true),
        ("resources: [../other, ../deploy]", component, false),
        ("resources: [../deploy]\ncomponents: [../other]", component, true),
        (
            "resources: [../deploy]\ncomponents: [../other]",
            "resources: []",
            false,
        ),
    ] {
        let folder = folder();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let patches = "patches:\n- target: {kind: Deployment}\n  patch: '[{}]'\n";
        write("deploy/app.yaml", &fixture("EW604"));
        write("deploy/kustomization.yaml", "resources: [app.yaml]");
        write("other/kustomization.yaml", other);
        write("overlay/kustomization.yaml", &format!("{overlay}\n{patches}"));
        let shown = text(&lint(folder.path(), &["."]));
        assert_eq!(shown.contains("[EW604]"), !is_built, "{overlay} {other}: {shown}");
    }
}

/// Each of them builds all files: the work is bounded, and what it leaves out is noted.
#[test]
fn many_kustomizations_over_many_files_are_followed_in_part() {
    let folder = folder();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    let names: Vec<String> = (0..3000).map(|index| format!("f{index}.yaml")).collect();
    for name in &names {
        write(&format!("base/{name}"), "a: b");
    }
    write(
        "base/kustomization.yaml",
        &format!("resources: [{}]", names.join(", ")),
    );
    let overlay = "resources: [../base]\npatches:\n- target: {kind: Deployment}\n  patch: '[{}]'\n";
    for index in 0..800 {
        write(&format!("o{index:03}/kustomization.yaml"), overlay);
    }
    write("z/app.yaml", &fixture("EW604"));
    write("z/kustomization.yaml", &overlay.replace("../base", "app.yaml"));
    let shown = text(&lint(folder.path(), &["."]));
    assert!(shown.contains("[EW604]"), "{shown}");
    assert!(
        shown.contains("kustomization.yaml: the patches of this and all later kustomizations are ignored"),
        "{shown}"
    );
}

#[cfg(unix)]
#[test]
fn patch_outside_the_folder_of_its_kustomization_is_not_read() {
    use std::os::unix::fs::symlink;

    for is_link in [false, true] {
        let (folder, outside) = (folder(), folder());
        let file = outside.path().join("patch.json");
        fs::write(&file, "[{}]").unwrap();
        let named = if is_link {
            symlink(&file, folder.path().join("patch.json")).unwrap();
            "patch.json".to_owned()
        } else {
            file.to_str().unwrap().to_owned()
        };
        let kustomization =
            format!("resources: [app.yaml]\npatches:\n- target: {{kind: Deployment}}\n  path: {named}\n");
        fs::write(folder.path().join("kustomization.yaml"), kustomization).unwrap();
        fs::write(folder.path().join("app.yaml"), fixture("EW604")).unwrap();
        let shown = text(&lint(folder.path(), &["."]));
        assert!(shown.contains("[EW604]"), "{named}: {shown}");
    }
}

#[test]
fn resource_of_one_kustomization_is_no_patch_of_another() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    for name in ["deploy", "decoy"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    write("deploy/app.yaml", &bad());
    write("deploy/kustomization.yaml", "resources:\n- app.yaml\n");
    write("decoy/app.yaml", &bad().replace("use: \"true\"", "unused: \"\""));
    write(
        "decoy/kustomization.yaml",
        "resources:\n- app.yaml\npatches:\n- path: ../deploy/app.yaml\n",
    );
    let shown = text(&lint(folder.path(), &["."]));
    assert!(shown.contains("[EW601]"), "{shown}");
}

#[test]
fn text_that_looks_like_a_comment_suppresses_nothing() {
    let comment = "# entra-workload: ignore EW601 because x";
    let label = "    azure.workload.identity/use: \"true\"\n";
    for before in [
        format!("    note: \"{comment}\"\n"),
        format!("    note: 'a {comment}'\n"),
        format!("    note: |-\n      {comment}\n"),
        format!("    note: >\n      \"a\"\n      {comment}\n"),
        format!("    note: \"a\n      {comment}\"\n"),
        format!("    \"a {comment}\": b\n"),
        "    note: &a#entra-workload: ignore EW601 because x\n".to_owned(),
    ] {
        let manifest = bad().replace(label, &format!("{before}{label}"));
        let shown = text(&with_input(&[], &manifest));
        assert!(shown.contains("[EW601]"), "{before}: {shown}");
    }
    for before in [
        format!("    note: \"a\" {comment}\n"),
        format!("    note: | {comment}\n"),
        format!("    note: 'it''s' {comment}\n"),
        format!("    {comment}\n"),
    ] {
        let manifest = bad().replace(label, &format!("{before}{label}"));
        let shown = text(&with_input(&[], &manifest));
        assert!(shown.contains("suppressed by comments: 1"), "{before}: {shown}");
    }
}

#[test]
fn text_of_terraform_and_bicep_that_looks_like_a_comment_suppresses_nothing() {
    let folder = folder();
    let mark = "entra-workload: ignore EW703 because x";
    for (name, suppresses, line) in [
        ("a.tf", false, format!("  note = \"# {mark}\"\n")),
        ("a.tf", false, format!("  note = \"a ${{ f(\"# {mark}\") }}\"\n")),
        ("a.tf", false, format!("  note = <<EOT\n# {mark}\nEOT\n")),
        ("a.tf", true, format!("  # {mark}\n")),
        ("a.tf", true, format!("  note = \"a\" // {mark}\n")),
        ("a.tf", true, format!("  /* {mark} */\n")),
        ("a.tf", false, format!("  /* */ note = \"{mark}\"\n")),
        (
            "a.tf",
            false,
            "  /* entra-workload: ignore EW703 */ note = \" because x\"\n".to_owned(),
        ),
        ("a.tf", true, format!("  /* */ note = \"{mark}\" /* {mark} */\n")),
        ("a.bicep", false, format!("    note: 'a // {mark}'\n")),
        ("a.bicep", false, format!("    note: \'\'\'\n // {mark}\'\'\'\n")),
        ("a.bicep", true, format!("    // {mark}\n")),
        ("a.bicep", true, format!("    note: 'a' /* {mark} */\n")),
    ] {
        let bad = fs::read_to_string(fixtures().join("EW703").join(name.replace('a', "bad"))).unwrap();
        let (before, after) = bad.split_at(bad.find("issuer").unwrap());
        let (before, indentation) = before.split_at(before.rfind('\n').unwrap() + 1);
        fs::write(
            folder.path().join(name),
            format!("{before}{line}{indentation}{after}"),
        )
        .unwrap();
        let shown = text(&lint(folder.path(), &[name]));
        assert_eq!(!shown.contains("[EW703]"), suppresses, "{line}: {shown}");
        assert_eq!(
            shown.contains("suppressed by comments: 1"),
            suppresses,
            "{line}: {shown}"
        );
    }
}

#[test]
fn comment_suppresses_a_rule_in_its_own_object_only() {
    let comment = "# entra-workload: ignore EW601 because x";
    let object = |name: &str| {
        let label = r#"labels: {azure.workload.identity/use: "true"}"#;
        let pod = "template: {spec: {containers: [{name: a, image: b}]}}";
        format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, {label}}}, spec: {{{pod}}}}}"
        )
    };
    let (a, b) = (object("a"), object("b"));
    let list = "apiVersion: v1\nkind: List\nitems:\n";
    for (manifest, found) in [
        (format!("{a} {comment}\n"), 0),
        (format!("{comment}\n{a}\n"), 0),
        (format!("{list}- {a} {comment}\n- {b}\n"), 1),
        (format!("{list}- {a}\n{comment}\n- {b}\n"), 1),
        (format!("{list}- {a} {comment}\n- {b} {comment}\n"), 0),
        (
            format!("{{apiVersion: v1, kind: List, items: [{a}, {b}]}} {comment}\n"),
            1,
        ),
        (
            format!("{comment}\n{{apiVersion: v1, kind: List, items: [{a}, {b}]}}\n"),
            1,
        ),
    ] {
        let shown = text(&with_input(&[], &manifest));
        assert_eq!(shown.matches("[EW601]").count(), found, "{manifest}: {shown}");
    }
}

#[test]
fn suppressed_findings_are_counted_in_every_format() {
    let comment = "# entra-workload: ignore EW601 because \u{202e}[2J of a reason";
    let manifest = bad().replace("use: \"true\"\nspec", &format!("use: \"true\" {comment}\nspec"));
    for format in FORMATS {
        let output = with_input(&["--format", format], &manifest);
        assert!(output.status.success(), "{}", text(&output));
        let shown = text(&output);
        match format {
            "text" => assert!(
                shown.contains("no mistakes; files: 1, suppressed by comments: 1"),
                "{shown}"
            ),
            "json" => {
                let report: Value = serde_json::from_str(&shown).unwrap();
                assert_eq!(
                    (&report["suppressed"], &report["findings"]),
                    (&json!(1), &json!([]))
                );
            }
            "sarif" => {
                let result = &sarif(&output)["results"][0];
                let suppression = json!({ "kind": "inSource", "justification": r"\u{202e}[2J of a reason" });
                assert_eq!(
                    (&result["ruleId"], &result["suppressions"]),
                    (&json!("EW601"), &json!([suppression]))
                );
            }
            _ => assert_eq!(shown, "::notice::findings suppressed by comments: 1\n"),
        }
    }
    let result = &sarif(&with_input(&["--format", "sarif"], &bad()))["results"][0];
    assert_eq!(result["suppressions"], json!([]));
}

#[test]
fn file_of_more_than_10_mb_is_noted_and_a_named_one_is_an_error() {
    let folder = folder();
    for (name, length) in [("large.yaml", 10_000_001), ("full.yaml", 10_000_000)] {
        let comment = "# a comment of 32 characters ...\n".repeat(length / 33);
        fs::write(folder.path().join(name), comment + &" ".repeat(length % 33)).unwrap();
    }
    let output = lint(folder.path(), &["."]);
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    assert!(
        shown.contains("large.yaml: not read: larger than 10 MB"),
        "{shown}"
    );
    assert!(shown.contains("files: 1"), "{shown}");
    assert_eq!(lint(folder.path(), &["large.yaml"]).status.code(), Some(64));
    let large = fs::read_to_string(folder.path().join("large.yaml")).unwrap();
    assert_eq!(with_input(&[], &large).status.code(), Some(64));
}

#[test]
fn fix_leaves_a_text_in_three_quotes_of_bicep_alone() {
    for (quotes, is_fixed) in [("'", true), ("'''", false)] {
        let folder = folder();
        let file = folder.path().join("a.bicep");
        let kind = "Microsoft.ManagedIdentity/userAssignedIdentities";
        let issuer = format!("issuer: {quotes}https://eastus.oic.prod-aks.azure.com/t/i{quotes}");
        let module = format!(
            "resource id '{kind}@2023-01-31' = {{\n  name: 'x'\n}}\n\
             resource fic '{kind}/federatedIdentityCredentials@2023-01-31' = {{\n  parent: id\n  name: 'y'\n  \
             properties: {{\n    {issuer}\n    subject: 'system:serviceaccount:a:b'\n    \
             audiences: ['api://AzureADTokenExchange']\n  }}\n}}\n"
        );
        fs::write(&file, &module).unwrap();
        let shown = text(&lint(folder.path(), &["--fix", "."]));
        assert_eq!(!shown.contains("[EW703]"), is_fixed, "{shown}");
        assert_eq!(fs::read_to_string(&file).unwrap() != module, is_fixed, "{shown}");
    }
}

/// Each quote makes the grammar look at the rest of the file.
#[test]
fn bicep_that_is_scanned_too_often_is_noted() {
    let folder = folder();
    fs::write(folder.path().join("a.bicep"), "'".repeat(200_000)).unwrap();
    let shown = text(&lint(folder.path(), &["."]));
    assert!(
        shown.contains("a.bicep: not read: too large, or not Bicep"),
        "{shown}"
    );
}

/// The parser copies what has an anchor, also within another anchor.
#[test]
fn nested_anchors_around_many_values_are_refused() {
    let anchors = (0..90).fold(String::new(), |text, index| format!("{text}&a{index} ["));
    let nested = format!("{anchors}{}{}", "a,".repeat(100_000), "]".repeat(90));
    let output = with_input(&[], &nested);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        text(&output).contains("more than 2000000 values"),
        "{}",
        text(&output)
    );
}

/// The parser copies what has an anchor at each alias, too.
#[test]
fn aliases_of_much_text_or_of_many_values_are_refused() {
    let long = "a".repeat(100_000);
    let text_of = |anchor: &str| format!("a: {anchor}\nb: [{}]\n", "*a,".repeat(1000));
    let of_lists = (1..30).fold("a0: &a0 []\n".to_owned(), |text, index| {
        let before = index - 1;
        format!("{text}a{index}: &a{index} [*a{before}, *a{before}]\n")
    });
    for (manifest, reason) in [
        (text_of(&format!("&a {long}")), "more than 20000000 bytes"),
        (text_of(&format!("&a [{long}]")), "more than 20000000 bytes"),
        (of_lists, "more than 2000000 values"),
    ] {
        let output = with_input(&[], &manifest);
        assert_eq!(output.status.code(), Some(64));
        assert!(text(&output).contains(reason), "{}", text(&output));
    }
    assert!(with_input(&[], &text_of("&a b")).status.success());
}

/// Of a file with 300 bytes, the parser made 30,000 values; of a thousand such files, it took all memory.
#[test]
fn aliases_that_copy_far_more_than_the_file_has_are_refused() {
    let lists = (1..13).fold("a0: &a0 []\n".to_owned(), |text, index| {
        let before = index - 1;
        format!("{text}a{index}: &a{index} [*a{before}, *a{before}]\n")
    });
    let texts = format!("a: &a {}\nb: [{}]\n", "a".repeat(10_000), "*a,".repeat(1500));
    for manifest in [&lists, &texts] {
        let output = with_input(&[], manifest);
        assert_eq!(output.status.code(), Some(64));
        assert!(
            text(&output).contains("its aliases copy too much for its length"),
            "{}",
            text(&output)
        );
    }
    // In a patch of a kustomization, too, which then cannot be built.
    for (aliases, is_built) in [(0, true), (1, false)] {
        let folder = folder();
        let patch = format!(
            "kind: Deployment\nmetadata: {{name: orders}}\n{}",
            lists.repeat(aliases)
        );
        let patch = json!({ "resources": ["app.yaml"], "patches": [{ "patch": patch }] }).to_string();
        fs::write(folder.path().join("kustomization.yaml"), patch).unwrap();
        fs::write(folder.path().join("app.yaml"), fixture("EW604")).unwrap();
        let shown = text(&lint(folder.path(), &["."]));
        assert_eq!(shown.contains("[EW604]"), !is_built, "{shown}");
    }
}

#[test]
fn merge_key_with_a_list_of_maps_fills_in_labels() {
    let label = "    azure.workload.identity/use: \"true\"\n";
    let merged = "    <<: [{a: b}, {azure.workload.identity/use: \"true\"}]\n";
    let shown = text(&with_input(&[], &bad().replace(label, merged)));
    assert!(shown.contains("[EW601]"), "{shown}");
}

/// Each account without a namespace was looked for in that of each credential.
#[test]
fn long_namespace_of_many_accounts_is_compared_in_part_and_noted() {
    let account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, annotations: \
                   {azure.workload.identity/client-id: a}}\n";
    let namespace = "b".repeat(500_000);
    let credential = |name: &str| {
        let subject = format!("system:serviceaccount:{namespace}:{name}");
        format!(
            "resource \"azurerm_federated_identity_credential\" \"{name}\" {{\n  subject = \"{subject}\"\n}}\n"
        )
    };
    for (accounts, is_noted) in [(10, false), (200, true)] {
        let folder = folder();
        fs::write(folder.path().join("a.yaml"), account.repeat(accounts)).unwrap();
        fs::write(folder.path().join("a.tf"), credential("a") + &credential("b")).unwrap();
        let shown = text(&lint(folder.path(), &["."]));
        let note = "a.tf: too many names and labels to compare";
        assert_eq!(shown.contains(note), is_noted, "{shown}");
    }
}

/// Thousands of mounts made the rule compare megabytes as often.
#[test]
fn path_that_is_longer_than_the_system_allows_is_not_compared_with_a_volume() {
    for (length, is_found) in [(4000, true), (5000, false)] {
        let path = "a".repeat(length);
        let shown = text(&with_input(
            &[],
            &format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  volumes: [{{name: b, projected: {{sources: \
                 [{{serviceAccountToken: {{audience: c, path: {path}}}}}]}}}}]\n  containers: [{{name: a, env: [{{name: \
                 AZURE_FEDERATED_TOKEN_FILE, value: /d/{path}}}], volumeMounts: [{{name: b, mountPath: /d}}]}}]\n"
            ),
        ));
        assert_eq!(!shown.contains("[EW624]"), is_found, "{shown}");
    }
}

#[test]
fn blanks_at_the_start_of_a_long_line_are_not_read_for_each_finding() {
    let item = r#"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, labels: {azure.workload.identity/use: "true"}}, spec: {template: {spec: {containers: []}}}}"#;
    let manifest = format!("kind: List\nitems: [\n{}{item}]\n", " ".repeat(300));
    let shown = text(&with_input(&[], &manifest));
    assert!(shown.contains("[EW601]"), "{shown}");
    let key = "azure.workload.identity/use";
    assert!(
        shown.contains(&format!("…{key}")) || shown.contains(&format!("…\"{key}")),
        "{shown}"
    );
    let blanks = format!("{}azure.workload.identity/use: \"true\"", " ".repeat(300));
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\n  labels:\n{blanks}\nspec: {{template: {{spec: {{containers: []}}}}}}\n"
    );
    let shown = text(&with_input(&[], &manifest));
    assert!(
        shown.contains("[EW601]") && shown.contains(&format!("…{key}")),
        "{shown}"
    );
}

/// 200 findings in one line: each shows a part of it.
#[test]
fn output_for_a_long_line_is_short_and_has_its_columns() {
    let name = "ö".repeat(50_000);
    let item = |index: usize| {
        let of_pod = r#"{"spec":{"containers":[{"name":"a","image":"b"}]}}"#;
        let labels = r#"{"azure.workload.identity/use":"true"}"#;
        format!(
            r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"{index}","labels":{labels}}},"spec":{{"template":{of_pod}}}}}"#
        )
    };
    let items: Vec<String> = (0..200).map(item).collect();
    let list = format!(
        r#"{{"kind":"List","note":"{name}","items":[{}]}}"#,
        items.join(",")
    );
    let shown = text(&with_input(&[], &list));
    assert!(shown.contains("findings: 200"), "{shown}");
    assert!(shown.len() < 200 * 1000, "{}", shown.len());
    let output = with_input(&["--format", "json"], &list);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let places = list.match_indices("\"azure.workload.identity/use");
    let columns: Vec<usize> = places
        .map(|(place, _)| list.get(..place).unwrap().chars().count() + 1)
        .collect();
    for (finding, column) in report["findings"].as_array().unwrap().iter().zip(columns) {
        assert_eq!(finding["column"], column);
        assert!(shown.contains(&format!("<stdin>:1:{column}\n")), "{column}");
    }
}

#[test]
fn message_with_a_long_value_is_cut() {
    let (before, after) = fixture("EW605")
        .split_once("namespace: other")
        .map(owned)
        .unwrap();
    let manifest = format!("{before}namespace: {}{after}", "n".repeat(100_000));
    for format in FORMATS {
        let output = with_input(&["--format", format], &manifest);
        assert!(text(&output).contains("nnn…"), "{}", text(&output));
        assert!(!text(&output).contains(&"n".repeat(1000)));
    }
}

#[test]
fn files_that_are_not_read_are_in_the_sarif_log() {
    let folder = folder();
    fs::write(folder.path().join("broken.yaml"), "a: [").unwrap();
    fs::write(folder.path().join("good.yaml"), "a: b").unwrap();
    let run = sarif(&lint(folder.path(), &["--format", "sarif", "."]));
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], true);
    let notification = &invocation["toolExecutionNotifications"][0];
    assert_eq!(notification["level"], "warning");
    let message = notification["message"]["text"].as_str().unwrap();
    assert!(message.contains("broken.yaml: not read: line"), "{message}");
    let location = &notification["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!(location["uri"], "broken.yaml");

    let output = lint(folder.path(), &["--format", "sarif", "good.yaml", "broken.yaml"]);
    assert_eq!(output.status.code(), Some(64));
    let invocation = &sarif(&output)["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    assert_eq!(invocation["toolExecutionNotifications"][0]["level"], "error");
}

#[test]
fn reader_that_has_gone_is_no_success() {
    for format in FORMATS {
        let mut child = command(Path::new("."))
            .args(["--format", format, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let suppressed = bad().replace(
            "\"true\"\nspec",
            "\"true\" # entra-workload: ignore EW601 because x\nspec",
        );
        child
            .stdin
            .take()
            .unwrap()
            .write_all(suppressed.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(141), "{format}");
        assert!(output.stderr.is_empty(), "{}", text(&output));
    }
}

#[test]
fn only_the_place_of_a_finding_is_shown_beside_other_values() {
    let variable = "- name: AZURE_CLIENT_SECRET\n              value: planted";
    for notation in [
        "- {name: AZURE_CLIENT_SECRET, value: planted:x}",
        "- {planted: x, name: AZURE_CLIENT_SECRET}",
        "- {name: AZURE_CLIENT_SECRET, value: \"a\", x: [planted, y]}",
        "- {name: AZURE_CLIENT_SECRET, ? planted : x}",
    ] {
        let shown = text(&with_input(&[], &fixture("EW614").replace(variable, notation)));
        assert!(
            shown.contains("[EW614]") && shown.contains("AZURE_CLIENT_SECRET"),
            "{shown}"
        );
        assert!(!shown.contains("planted"), "{shown}");
    }
}

#[test]
fn values_beside_a_finding_in_a_flow_map_of_several_lines_are_not_shown() {
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: app, annotations: {\n";
    let id = "azure.workload.identity/client-id: not-a-guid";
    for line in [
        format!("  {id}, db.example/password: planted"),
        format!("  db.example/password: planted, {id}"),
        format!("  a: it's, b: don't, {id}, db.example/password: planted"),
        format!("  \"a\": \"planted\",{id}"),
        r#"  a: "planted\\", "azure.workload.identity/client-id": not-a-guid"#.to_owned(),
    ] {
        let shown = text(&with_input(&[], &format!("{account}{line}\n}} }}\n")));
        assert!(shown.contains("not-a-guid"), "{shown}");
        assert!(!shown.contains("planted"), "{line}: {shown}");
    }
    for line in [format!("  {id},"), format!("  {id} # seen, and kept")] {
        let shown = text(&with_input(&[], &format!("{account}{line}\n}} }}\n")));
        assert!(shown.contains(&line), "{line}: {shown}");
    }
}

/// Each is in the output of every format, if it is not escaped.
const HOSTILE: [&str; 14] = [
    "\n::stop-commands::x",
    "\r::add-mask::x",
    "::error::x",
    "##[error]x",
    "##vso[task.setvariable variable=a]x",
    "\u{1b}]52;c;cGxhbnRlZA==\u{7}",
    "\u{1b}[2J",
    "\u{9b}2J",
    "\u{85}::warning::x",
    "\u{202e}dlrow",
    "\u{2066}a\u{2069}",
    "a\u{200b}\u{200d}\u{feff}b",
    "\u{2028}::debug::x",
    "\u{e0041}\u{3164}\u{ad}",
];

/// Only what the format itself writes may be a control character or a logging command.
#[track_caller]
fn assert_safe(output: &Output, format: &str) {
    for stream in [&output.stdout, &output.stderr] {
        let shown = std::str::from_utf8(stream).expect("output is UTF-8");
        let is_unsafe = |c: char| {
            c.is_control() && c != '\n'
                || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
                || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{3164}' | '\u{e0000}'..)
        };
        assert!(!shown.contains(is_unsafe), "{format}: {shown:?}");
        assert!(!shown.contains("##["), "{format}: {shown}");
        assert!(!shown.contains("##vso["), "{format}: {shown}");
        for line in shown.lines().filter(|line| line.trim_start().starts_with("::")) {
            let is_own = ["error", "warning", "notice"]
                .iter()
                .any(|kind| line.starts_with(&format!("::{kind} file=")));
            assert!(format == "github" && is_own, "{format}: {line}");
        }
    }
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

/// A manifest with one error.
fn bad() -> String {
    fixture("EW601")
}

/// A manifest whose error has a safe fix.
#[cfg(unix)]
fn fixable() -> String {
    fixture("EW603")
}

fn fixture(code: &str) -> String {
    fs::read_to_string(fixtures().join(code).join("bad.yaml")).unwrap()
}

fn sarif(output: &Output) -> Value {
    let log: Value = serde_json::from_slice(&output.stdout).expect("stdout is a log");
    log["runs"][0].clone()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn lint(folder: &Path, arguments: &[&str]) -> Output {
    command(folder).args(arguments).output().unwrap()
}

fn with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = command(Path::new("."))
        .args(arguments)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entra-workload"));
    command.current_dir(folder).arg("lint");
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint")
}
