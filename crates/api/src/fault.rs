//! What is wrong with a request, part by part. How it becomes HTTP is said in `http::problem`.

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultCode {
    MalformedJson,
    WrongType,
    UnknownField,
    MissingField,
    BadName,
    UnknownState,
    BadValue,
    UnknownParameter,
    BadParameter,
    PayloadTooLarge,
    OutOfBounds,
    EmptyList,
    TooManyEndpoints,
    UnknownEndpoint,
    NotRetryable,
    PayloadSchema,
    CallbackRefused,
}

/// What a fault makes of the request as a whole; the lowest of several decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// It cannot be read.
    Unreadable,
    /// Part of it is too large.
    TooLarge,
    /// It was read, and a value is out of its bounds.
    OutOfBounds,
}

impl FaultCode {
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::MalformedJson
            | Self::WrongType
            | Self::UnknownField
            | Self::MissingField
            | Self::BadName
            | Self::UnknownState
            | Self::BadValue
            | Self::UnknownParameter
            | Self::BadParameter => Class::Unreadable,
            Self::PayloadTooLarge => Class::TooLarge,
            Self::OutOfBounds
            | Self::EmptyList
            | Self::TooManyEndpoints
            | Self::UnknownEndpoint
            | Self::NotRetryable
            | Self::PayloadSchema
            | Self::CallbackRefused => Class::OutOfBounds,
        }
    }
}

/// What is wrong with one part of a request.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) code: FaultCode,
    /// The field or parameter, as `endpoints[3]`; empty for the body as a whole.
    pub(crate) field: String,
    pub(crate) message: String,
    /// What would be allowed.
    pub(crate) allowed: Option<String>,
    /// JSON pointer into the field's value.
    pub(crate) pointer: Option<String>,
}

impl Fault {
    pub(crate) fn new(
        code: FaultCode,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            field: field.into(),
            message: message.into(),
            allowed: None,
            pointer: None,
        }
    }

    pub(crate) fn allow(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = Some(allowed.into());
        self
    }

    pub(crate) fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }
}

/// How many faults are told; the others are only counted.
const MAX_TOLD: usize = 100;

/// Every fault of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    told: Vec<Fault>,
    total: usize,
    decisive: Option<FaultCode>,
}

impl Faults {
    pub(crate) fn push(&mut self, fault: Fault) {
        let decides = self
            .decisive
            .is_none_or(|code| fault.code.class() < code.class());
        if decides {
            self.decisive = Some(fault.code);
        }
        self.total += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(fault);
        }
    }

    /// The first fault of the lowest class; `None` if nothing is wrong.
    pub(crate) const fn decisive(&self) -> Option<FaultCode> {
        self.decisive
    }

    /// Whether a fault of this field, or of an element of it, is told.
    pub(crate) fn tell_of(&self, field: &str) -> bool {
        self.told.iter().any(|fault| {
            fault
                .field
                .strip_prefix(field)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
        })
    }

    /// How many there are, told or not.
    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn into_told(self) -> Vec<Fault> {
        self.told
    }

    pub(crate) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.total == 0 {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        let mut faults = Self::default();
        faults.push(fault);
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_decides() {
        let mut faults = Faults::from(Fault::new(FaultCode::EmptyList, "endpoints", "empty"));
        faults.push(Fault::new(
            FaultCode::PayloadTooLarge,
            "payload",
            "too long",
        ));
        assert_eq!(faults.decisive(), Some(FaultCode::PayloadTooLarge));
        faults.push(Fault::new(FaultCode::UnknownField, "id", "unknown"));
        faults.push(Fault::new(FaultCode::BadName, "identifier", "bad"));
        assert_eq!(faults.decisive(), Some(FaultCode::UnknownField));
    }

    #[test]
    fn many_faults_are_counted_but_not_all_told() {
        let mut faults = Faults::default();
        for i in 0..MAX_TOLD {
            faults.push(Fault::new(
                FaultCode::UnknownEndpoint,
                format!("endpoints[{i}]"),
                "no",
            ));
        }
        faults.push(Fault::new(FaultCode::BadName, "endpoints[100]", "bad"));
        assert_eq!(faults.total(), MAX_TOLD + 1);
        assert_eq!(faults.decisive(), Some(FaultCode::BadName));
        assert_eq!(faults.into_told().len(), MAX_TOLD);
    }
}
