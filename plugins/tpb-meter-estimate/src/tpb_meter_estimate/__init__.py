"""Estimates for machines without a readable power sensor: CPU seconds, and declared watts times them."""

from tpb_meter_estimate.gpu import GpuEstimateConfig, GpuEstimateMeter
from tpb_meter_estimate.meter import EstimateConfig, EstimateMeter

__all__ = ["EstimateConfig", "EstimateMeter", "GpuEstimateConfig", "GpuEstimateMeter"]
