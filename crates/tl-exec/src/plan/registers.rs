//! Registers of tapes: every value is first given one of its own; then values share those that are free.

use std::collections::HashSet;

use tl_ir::Reduction;

use crate::kernel::{Instr, Reg, Tape};

impl Instr {
    /// The registers that the instruction reads.
    pub fn reads(&self) -> impl Iterator<Item = Reg> {
        let (count, regs) = match self {
            Instr::Map { scalar, args, .. } => (scalar.info().arity, *args),
            Instr::Reduce { from, .. } | Instr::Softmax { from, .. } | Instr::Store { from, .. } => {
                (1, [*from; 3])
            }
            _ => (0, [Reg::Scalar(0); 3]),
        };
        regs.into_iter().take(count)
    }

    /// The register that the instruction writes.
    pub fn writes(&self) -> Option<Reg> {
        match self {
            Instr::Load { into, .. }
            | Instr::Const { into, .. }
            | Instr::InnerIndex { into }
            | Instr::OuterIndex { into, .. }
            | Instr::Map { into, .. }
            | Instr::Reduce { into, .. }
            | Instr::Softmax { into, .. }
            | Instr::LoadAt { into, .. } => Some(*into),
            Instr::Store { .. } => None,
        }
    }

    fn rename(&mut self, name: impl Fn(Reg) -> Reg) {
        match self {
            Instr::Map { into, args, scalar } => {
                let arity = scalar.info().arity;
                let renamed = args.map(&name);
                *args = [0, 1, 2].map(|i| renamed[if i < arity { i } else { 0 }]);
                *into = name(*into);
            }
            Instr::Reduce { into, from, .. } | Instr::Softmax { into, from } => {
                (*into, *from) = (name(*into), name(*from));
            }
            Instr::Store { from, .. } => *from = name(*from),
            Instr::Load { into, .. }
            | Instr::Const { into, .. }
            | Instr::InnerIndex { into }
            | Instr::OuterIndex { into, .. }
            | Instr::LoadAt { into, .. } => *into = name(*into),
        }
    }
}

impl Tape {
    /// Whether its reductions can go on from one piece of the inner axis to the next: nothing along the axis waits for what they give.
    pub fn goes_on(&self) -> bool {
        let mut after: HashSet<Reg> = HashSet::new();
        self.instrs.iter().all(|instr| {
            let waits = instr.reads().any(|reg| after.contains(&reg));
            let is_reduced = matches!(instr, Instr::Reduce { .. });
            if let Some(into) = instr.writes() {
                if is_reduced || waits {
                    after.insert(into)
                } else {
                    after.remove(&into)
                };
            }
            match instr {
                Instr::Softmax { .. } => false,
                Instr::Reduce { kind, .. } => {
                    !waits && !matches!(kind, Reduction::Argmax | Reduction::Argmin)
                }
                _ => !(waits && matches!(instr.writes(), Some(Reg::Vector(_)))),
            }
        })
    }

    /// Leaves out what comes to no store.
    pub(super) fn prune(&mut self) {
        let mut needed: HashSet<Reg> = HashSet::new();
        let mut kept = Vec::with_capacity(self.instrs.len());
        for instr in std::mem::take(&mut self.instrs).into_iter().rev() {
            if instr.writes().is_none_or(|reg| needed.contains(&reg)) {
                needed.extend(instr.reads());
                kept.push(instr);
            }
        }
        kept.reverse();
        self.instrs = kept;
    }

    /// Shares registers among values that are not needed at the same time. The first `given` vectors hold values at the start. An
    /// instruction's result never shares a register with its arguments.
    pub(super) fn compact(&mut self, given: u16) {
        self.share(given, None);
    }

    /// The same for a tape whose result is the register `kept` at its end; returns where that is then.
    pub(super) fn compact_keeping(&mut self, given: u16, kept: Reg) -> Reg {
        self.share(given, Some(kept)).expect("the kept register is in use")
    }

    fn share(&mut self, given: u16, kept: Option<Reg>) -> Option<Reg> {
        let end = self.instrs.len();
        let slot = |reg: Reg| match reg {
            Reg::Vector(i) => (0, usize::from(i)),
            Reg::Scalar(i) => (1, usize::from(i)),
        };
        let mut last = [vec![0; usize::from(self.vectors)], vec![0; usize::from(self.scalars)]];
        for (at, instr) in self.instrs.iter().enumerate() {
            for reg in instr.reads().chain(instr.writes()) {
                let (kind, i) = slot(reg);
                last[kind][i] = at;
            }
        }
        if let Some((kind, i)) = kept.map(slot) {
            last[kind][i] = end;
        }
        let mut new = [vec![None; last[0].len()], vec![None; last[1].len()]];
        let mut free: [Vec<u16>; 2] = [Vec::new(), Vec::new()];
        let mut count = [given, 0];
        (0..given).for_each(|i| new[0][usize::from(i)] = Some(i));
        for (at, instr) in self.instrs.iter_mut().enumerate() {
            if let Some((kind, i)) = instr.writes().map(slot)
                && new[kind][i].is_none()
            {
                new[kind][i] = Some(free[kind].pop().unwrap_or_else(|| {
                    count[kind] += 1;
                    count[kind] - 1
                }));
            }
            let ended: Vec<Reg> = instr.reads().chain(instr.writes()).collect();
            let name = |reg: Reg| match reg {
                Reg::Vector(i) => {
                    Reg::Vector(new[0][usize::from(i)].expect("a register is written before it is read"))
                }
                Reg::Scalar(i) => {
                    Reg::Scalar(new[1][usize::from(i)].expect("a register is written before it is read"))
                }
            };
            instr.rename(name);
            for (kind, i) in ended.into_iter().map(slot) {
                if last[kind][i] == at
                    && let Some(freed) = new[kind][i]
                    && !free[kind].contains(&freed)
                {
                    free[kind].push(freed);
                }
            }
        }
        [self.vectors, self.scalars] = count;
        kept.map(|reg| match reg {
            Reg::Vector(i) => Reg::Vector(new[0][usize::from(i)].expect("the result is written")),
            Reg::Scalar(i) => Reg::Scalar(new[1][usize::from(i)].expect("the result is written")),
        })
    }
}
