# The emulator as an image. It needs none of Airflow, so only its own folder is copied:
#   docker build --file emulator.Dockerfile --tag moengage-emulator .
#   docker run --rm --publish 127.0.0.1:8123:8123 moengage-emulator
FROM python:3.13-slim
RUN pip install --no-cache-dir 'msgspec>=0.19.0' 'starlette>=0.40' 'uvicorn>=0.30' tzdata \
    && useradd --system emulator
COPY airflow_provider_moengage/__init__.py /app/airflow_provider_moengage/
COPY airflow_provider_moengage/emulator /app/airflow_provider_moengage/emulator
WORKDIR /app
USER emulator
ENV PYTHONDONTWRITEBYTECODE=1
EXPOSE 8123
ENTRYPOINT ["python", "-m", "airflow_provider_moengage.emulator", "--host", "0.0.0.0"]
