//! A table with keys that are never used twice: no allocation per entry once it has grown to its
//! working size.

/// Entries by key. A key holds its place's index in the low 24 bits and a serial number above, so
/// that an answer that comes late cannot be taken for somebody else's.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<(u64, T)>>,
    free: Vec<usize>,
    serial: u64,
    len: usize,
}

const INDEX_BITS: u32 = 24;

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), serial: 0, len: 0 }
    }

    /// Puts `value` in and gives its key.
    pub(crate) fn insert(&mut self, value: T) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        assert!(index < 1 << INDEX_BITS, "invariant: open work is bounded");
        self.serial += 1;
        self.len += 1;
        let key = (self.serial << INDEX_BITS) | index as u64;
        self.places[index] = Some((key, value));
        key
    }

    /// The entry of that key, if it is still there.
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        match self.places.get_mut(Self::index(key))? {
            Some((held, value)) if *held == key => Some(value),
            Some(_) | None => None,
        }
    }

    /// Takes the entry out.
    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        let place = self.places.get_mut(Self::index(key))?;
        match place {
            Some((held, _)) if *held == key => {
                self.free.push(Self::index(key));
                self.len -= 1;
                place.take().map(|(_, value)| value)
            }
            Some(_) | None => None,
        }
    }

    /// Number of entries.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// All keys, oldest first.
    pub(crate) fn keys(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.places.iter().flatten().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    const fn index(key: u64) -> usize {
        (key & ((1 << INDEX_BITS) - 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_find_the_next_entry_in_its_place() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut 'b'));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn keys_come_in_the_order_of_insertion() {
        let mut slab = Slab::new();
        let a = slab.insert(0);
        let b = slab.insert(1);
        slab.remove(a);
        let c = slab.insert(2);
        assert_eq!(slab.keys(), vec![b, c]);
    }
}
