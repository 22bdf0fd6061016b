/// What is asked: `NAMESPACE/NAME` of one kind of object.
#[derive(Clone, Debug)]
pub(in crate::doctor) enum Target {
    Deployment(Name),
    Pod(Name),
    ServiceAccount(Name),
}

#[derive(Clone, Debug)]
pub(in crate::doctor) struct Name {
    pub(in crate::doctor) namespace: String,
    pub(in crate::doctor) name: String,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').ok_or("must be NAMESPACE/NAME")?;
        let is_name = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        };
        if !is_name(namespace) || !is_name(name) {
            return Err("must be NAMESPACE/NAME".to_owned());
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}
