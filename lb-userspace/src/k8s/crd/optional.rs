//! Kinds whose `spec` may be left out.
//!
//! MetalLB's own CRDs let it be missing (an `L2Advertisement` of a name and nothing else announces all pools), so
//! objects without it reach us from the API too. kube's objects have the field always, therefore the spec itself
//! reads as its default where it is absent.

/// Reads a missing or null spec as the default one, and nothing but a map as another: serde alone would take a list for
/// a spec. The type must carry `#[serde(remote = "Self")]`.
macro_rules! optional_spec {
    ($spec:ty) => {
        impl<'de> serde::Deserialize<'de> for $spec {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Absent;
                impl<'de> serde::de::Visitor<'de> for Absent {
                    type Value = $spec;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("struct ", stringify!($spec)))
                    }
                    fn visit_none<E>(self) -> Result<$spec, E> {
                        Ok(<$spec>::default())
                    }
                    fn visit_unit<E>(self) -> Result<$spec, E> {
                        Ok(<$spec>::default())
                    }
                    fn visit_some<D: serde::Deserializer<'de>>(self, inner: D) -> Result<$spec, D::Error> {
                        inner.deserialize_map(self)
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<$spec, A::Error> {
                        <$spec>::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    }
                }
                deserializer.deserialize_option(Absent)
            }
        }

        impl serde::Serialize for $spec {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$spec>::serialize(self, serializer)
            }
        }
    };
}

pub(super) use optional_spec;
