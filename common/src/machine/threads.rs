//! Work beside work. Where the system makes no further thread (EAGAIN: a limit of processes or of memory), the same is done
//! in this one, later.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

/// Does `beside` in a thread of its own while `here` is done in this one; without a thread, `here` comes first.
pub fn both<A: Send, B>(beside: impl Fn() -> A + Sync, here: impl FnOnce() -> B) -> (A, B) {
    both_by(Builder::new(), beside, here)
}

/// Does `work` in up to `number` threads at once, and in this one where there is none.
pub fn several<T: Send>(number: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    several_by(&Builder::new, number, work)
}

/// How many at once: more than four rarely help, and the server wants some processors too.
pub fn fitting() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().min(4))
}

/// What `work` makes of each item, in their order, up to `number` at once.
pub fn each<I: Sync, T: Send>(number: usize, items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut done: Vec<(usize, T)> = several(number.min(items.len()), some).into_iter().flatten().collect();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn both_by<A: Send, B>(builder: Builder, beside: impl Fn() -> A + Sync, here: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let thread = builder.spawn_scoped(scope, &beside);
        let here = here();
        let beside = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => beside(),
        };
        (beside, here)
    })
}

fn several_by<T: Send>(builder: &dyn Fn() -> Builder, number: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..number.max(1)).map_while(|_| builder().spawn_scoped(scope, &work).ok()).collect();
        if threads.is_empty() {
            return vec![work()];
        }
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// No system has room for the stack of such a thread.
    fn none() -> Builder {
        Builder::new().stack_size(1 << 60)
    }

    #[test]
    fn without_threads_the_same_is_done() {
        assert!(none().spawn(|| ()).is_err());
        let order = Mutex::new(Vec::new());
        let say = |word| {
            order.lock().unwrap().push(word);
            word
        };
        assert_eq!(both_by(none(), || say("beside"), || say("here")), ("beside", "here"));
        assert_eq!(*order.lock().unwrap(), ["here", "beside"]);
        assert_eq!(several_by(&none, 3, || say("once")), ["once"]);
    }

    #[test]
    fn results_stand_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(each(4, &items, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert!(each(4, &[], |item: &u32| *item).is_empty());
        assert_eq!(several(2, || 1), [1, 1]);
        assert_eq!(both(|| 1, || 2), (1, 2));
    }
}
