"""What a forecast model takes and gives: one pure function, from columns of what is remembered of a series to three quantiles of what comes.

R rows (entities × features), H horizons, any number of each. NaN = not known.
"""

SLOT_SECONDS = 1800         # of the recent past and of the seasonal memory
RECENT = 48                 # half-hours that are remembered one by one: a day
QUARTER = 12                # half-hours in a quarter of a day
QUARTERS = 32               # that are remembered: eight days
HORIZON_SECONDS = (300, 604800)
STEP_SECONDS = (1, 7200)    # of the detectors that a model is for: the seasonal memory has half-hours
COVERAGE = 0.8              # share of the values that come between the lowest and the highest quantile
QUANTILES = (0.1, 0.5, 0.9)

# {input: (dtype, axes)}
INPUTS = {
    'levels': ('float64', ('R', 3)), 'noise': ('float64', ('R',)), 'recent': ('float64', ('R', RECENT)),
    'recent_season': ('float64', ('R', RECENT)), 'quarters': ('float64', ('R', QUARTERS)), 'since_quarter': ('float32', ()),
    'weekly': ('float64', ('R', 'H')), 'daily': ('float64', ('R', 'H')), 'yesterday': ('float64', ('R', 'H')),
    'yesterday_season': ('float64', ('R', 'H')), 'now': ('float64', ('R', 2)), 'ahead': ('float64', ('H',)), 'step_seconds': ('float32', ()),
}  # fmt: skip
OUTPUT = ('forecast', 'float64', ('R', 'H', 3))
