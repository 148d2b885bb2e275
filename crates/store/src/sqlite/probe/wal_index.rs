//! Whether anything was committed since, read off the shared memory in which SQLite says so to itself.
//!
//! In WAL mode the connections of all processes share the *wal-index*. It begins with two copies of a 48-byte header
//! that every commit rewrites (<https://www.sqlite.org/walformat.html#the_wal_index_header>). A connection that begins
//! to read compares it with the header it saw last, and keeps what it has cached if the two are equal. This does that
//! comparison and nothing else: no lock, no system call.

#![expect(
    unsafe_code,
    reason = "SQLite hands its shared memory out as a pointer, and only through its C interface"
)]

use std::ffi::c_int;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering, fence};

use rusqlite::{Connection, ffi};

/// How SQLite cuts the wal-index: 32 KiB a piece. The first begins with the header.
const REGION: c_int = 32_768;

/// What the header's first word says in the only format there is.
const VERSION: u32 = 3_007_000;

/// The two copies of the header, twelve words each, in the byte order of the machine.
type Copies = [[AtomicU32; 12]; 2];

/// A connection, and the header of the wal-index that it has mapped.
#[derive(Debug)]
pub(crate) struct Watched {
    /// Points into what `connection` has mapped. Set only while nothing was asked of the connection since: see
    /// [`Self::connection`].
    copies: Option<NonNull<Copies>>,
    connection: Connection,
}

/// A header that was whole when it was read. It names one state of the database: every commit counts it up, every
/// restart of the log draws another salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header([u32; 12]);

// SAFETY: without the pointer it would be `Send`, as `Connection` is. What the pointer leads to belongs to the
// connection and goes with it, is mapped for the whole process, and is read by atomic loads only.
unsafe impl Send for Watched {}

impl Watched {
    /// The connection is to be one that shares the database: in the normal locking mode, not the exclusive one.
    pub(crate) fn new(connection: Connection) -> Self {
        Self { copies: None, connection }
    }

    /// The connection, to ask it something. Only a call on it, or its end, can take the mapping away: so whoever
    /// might make such a call gets the connection here, and here the mapping is forgotten.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.copies = None;
        &mut self.connection
    }

    /// The header now, or `None` when there is none to rely on: no WAL mode, no shared memory that can be had for
    /// reading and writing, a format unknown, a header that is not whole because it is being written just now or its
    /// writer was killed.
    pub(crate) fn header(&mut self) -> Option<Header> {
        let [first, second] = load(self.copies()?);
        (first == second).then_some(Header(first)).filter(Header::is_whole)
    }

    /// Whether the header is still this one: if so, nothing was committed since it was read. A header that is being
    /// written just now is another one.
    pub(crate) fn shows(&mut self, header: &Header) -> bool {
        self.copies().is_some_and(|copies| load(copies) == [header.0, header.0])
    }

    /// Leaves one copy as a writer does that is killed in the middle of it.
    #[cfg(test)]
    pub(crate) fn tear(&mut self, copy: usize) {
        self.copies().unwrap()[copy][2].fetch_add(1, Ordering::SeqCst);
    }

    fn copies(&mut self) -> Option<&Copies> {
        if self.copies.is_none() {
            self.copies = map(&self.connection);
        }
        // SAFETY: the connection mapped at least `REGION` bytes there, at the beginning of a page, so they are enough
        // and aligned. It unmaps them when it closes its log, which it does in calls only (its closing among them),
        // and there was none since: it is private, borrowed by `map` in this module and else by `connection`, which
        // forgets the pointer. The result borrows `self`, so there is none while it lives. Others write there
        // meanwhile, hence atomics.
        self.copies.map(|copies| unsafe { copies.as_ref() })
    }
}

impl Header {
    /// As SQLite judges it: initialised, of the known format, and with the right checksum
    /// (<https://www.sqlite.org/fileformat2.html#checksum_algorithm>, over words of the machine's own order).
    fn is_whole(&self) -> bool {
        let [summed @ .., sum, sum_of_sums] = self.0;
        let [version, _, _, flags, ..] = summed;
        let [is_init, ..] = flags.to_ne_bytes();
        let (pairs, _) = summed.as_chunks();
        let sums = pairs.iter().fold((0_u32, 0_u32), |(one, two), [even, odd]| {
            let one = one.wrapping_add(*even).wrapping_add(two);
            (one, two.wrapping_add(*odd).wrapping_add(one))
        });
        version == VERSION && is_init != 0 && sums == (sum, sum_of_sums)
    }
}

/// Reads both copies.
///
/// Order: a writer writes the second copy, a barrier, the first copy, and only then lets go of its lock and returns.
/// * The first fence puts the loads after all that this thread did before, its stores too. So whoever heard of a
///   commit, in whatever way, before asking here meets what the commit wrote before it was told of; and who publishes
///   something and then asks here cannot miss a commit whose maker did not see it published. The locks of a read
///   transaction used to do both.
/// * The second keeps the first copy's loads before the second copy's, against the writer's order: equal copies were
///   not read in the middle of a write.
/// * The third keeps what the caller reads next from being read before.
fn load([first, second]: &Copies) -> [[u32; 12]; 2] {
    let words = |copy: &[AtomicU32; 12]| copy.each_ref().map(|word| word.load(Ordering::Relaxed));
    fence(Ordering::SeqCst);
    let first = words(first);
    fence(Ordering::Acquire);
    let second = words(second);
    fence(Ordering::Acquire);
    [first, second]
}

/// Where the connection has the header mapped.
fn map(connection: &Connection) -> Option<NonNull<Copies>> {
    // Only a connection that has its log open has a wal-index, and unmaps it properly; asked of another one, the
    // call below would make a file.
    let wal = connection
        .prepare_cached("PRAGMA journal_mode")
        .ok()?
        .query_row([], |row| Ok(row.get_ref(0)?.as_str()? == "wal"));
    if !wal.ok()? {
        return None;
    }
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the handle is an open one, the name a C string. To this operation SQLite answers by writing one pointer
    // to where the last argument points (<https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html>).
    let found = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast(),
        )
    };
    if found != ffi::SQLITE_OK || file.is_null() {
        return None;
    }
    // SAFETY: it is the connection's own file, there as long as the connection; an open file's methods are a constant
    // of its VFS.
    let methods = unsafe { (*file).pMethods.as_ref() }?;
    // Shared memory came with the second version of the methods.
    let shared_memory = methods.xShmMap.filter(|_| methods.iVersion >= 2)?;
    let mut region = ptr::null_mut();
    // SAFETY: the file is open and of the VFS whose method this is. SQLite's own calls name this piece and size, too,
    // and are not under way: the connection is not shared between threads. Nothing is made that is not there (0).
    let mapped = unsafe { shared_memory(file, 0, REGION, 0, &raw mut region) };
    // Memory that is mapped for reading only comes with another code: nobody may be there to keep it true.
    if mapped == ffi::SQLITE_OK { NonNull::new(region.cast()) } else { None }
}

#[cfg(test)]
mod tests;
